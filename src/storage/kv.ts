import { AmeshError } from '../core/errors/amesh-error';
import { SERVER_CODES } from '../core/errors/codes';

/** A Cloudflare KV namespace, with the methods used here. */
export interface KvNamespace {
  /** The text of a key; null if there is none. */
  get(key: string): Promise<string | null>;
  /** The same with metadata. This method identifies a KV namespace. */
  getWithMetadata(key: string): Promise<unknown>;
}

/** A value as `get(key, 'stream')` returns it. */
type KvValue = ReadableStream<Uint8Array> | string | null;

/** Whether a value is a KV namespace. */
export function isKvNamespace(value: unknown): value is KvNamespace {
  return typeof (value as Partial<KvNamespace> | null)?.getWithMetadata === 'function';
}

/**
 * Reads a document from a KV namespace, with the driver of unstorage.
 *
 * @param atMost a larger value is treated as missing, and only a little more than `atMost` of it is read; default: any size
 * @returns its bytes, or its text, which can be long: the caller decides how much of it to convert. Null if there is none
 * @throws AmeshError `allow_list_unavailable` if unstorage is not installed; errors of the namespace
 */
export async function readKv(
  binding: KvNamespace,
  key: string,
  atMost?: number,
): Promise<Uint8Array | string | null> {
  const { createStorage, driver } = await loadUnstorage();
  const read = atMost === undefined ? binding : limited(binding, atMost);
  const storage = createStorage({ driver: driver({ binding: read as never }) });
  return storage.getItemRaw<Uint8Array | string>(key);
}

/** A namespace for the driver, without large values. unstorage writes bytes in base64, with a prefix. */
function limited(binding: KvNamespace, atMost: number): KvNamespace {
  const most = 'base64:'.length + 4 * Math.ceil(atMost / 3);
  const get = async (key: string) => {
    const value = (await (binding.get as (key: string, type: 'stream') => Promise<KvValue>).call(
      binding,
      key,
      'stream',
    )) as KvValue;
    if (value === null || typeof value === 'string')
      return value !== null && value.length > most ? null : value;
    return readText(value, most);
  };
  return Object.assign(Object.create(binding), { get });
}

/** The text of a stream; null if it has more bytes than `atMost`. */
async function readText(stream: ReadableStream<Uint8Array>, atMost: number): Promise<string | null> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (let read = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    read += value.length;
    if (read > atMost) {
      reader.cancel().catch(() => {});
      return null;
    }
    text += decoder.decode(value, { stream: true });
  }
}

async function loadUnstorage() {
  try {
    const { createStorage } = await import('unstorage');
    const { default: driver } = await import('unstorage/drivers/cloudflare-kv-binding');
    return { createStorage, driver };
  } catch (cause) {
    throw new AmeshError(
      SERVER_CODES.allow_list_unavailable,
      'A list in KV needs the package unstorage, which is not installed.',
      {
        fix: 'npm install unstorage',
        cause,
      },
    );
  }
}
