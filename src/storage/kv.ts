import { AmeshError } from '../core/errors/amesh-error';
import { SERVER_CODES } from '../core/errors/codes';

/** A Cloudflare KV namespace, with the methods used here. */
export interface KvNamespace {
  /** The text of a key; null if there is none. */
  get(key: string): Promise<string | null>;
  /** The same with metadata. This method identifies a KV namespace. */
  getWithMetadata(key: string): Promise<unknown>;
}

/** Whether a value is a KV namespace. */
export function isKvNamespace(value: unknown): value is KvNamespace {
  return typeof (value as Partial<KvNamespace> | null)?.getWithMetadata === 'function';
}

/**
 * Reads a document from a KV namespace, with the driver of unstorage.
 *
 * @returns its bytes, or its text, which can be long: the caller decides how much of it to convert. Null if there is none
 * @throws AmeshError `allow_list_unavailable` if unstorage is not installed; errors of the namespace
 */
export async function readKv(binding: KvNamespace, key: string): Promise<Uint8Array | string | null> {
  const { createStorage, driver } = await loadUnstorage();
  const storage = createStorage({ driver: driver({ binding: binding as never }) });
  return storage.getItemRaw<Uint8Array | string>(key);
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
