import { toUtf8 } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { SERVER_CODES } from '../core/errors/codes';

/** A KV namespace of Cloudflare as far as it is used here. */
export interface KvNamespace {
  /** The text of a key; null where there is none. */
  get(key: string): Promise<string | null>;
  /** The same, with what is known of it. A KV namespace is recognised by this method. */
  getWithMetadata(key: string): Promise<unknown>;
}

/** Whether a value is a KV namespace. */
export function isKvNamespace(value: unknown): value is KvNamespace {
  return typeof (value as Partial<KvNamespace> | null)?.getWithMetadata === 'function';
}

/**
 * Reads a document out of a KV namespace, by the driver of unstorage.
 *
 * @returns null where there is none
 * @throws AmeshError `allow_list_unavailable` where unstorage is not installed; what the namespace throws
 */
export async function readKv(binding: KvNamespace, key: string): Promise<Uint8Array | null> {
  const { createStorage, driver } = await loadUnstorage();
  const storage = createStorage({ driver: driver({ binding: binding as never }) });
  const value = await storage.getItemRaw<Uint8Array | string>(key);
  return typeof value === 'string' ? toUtf8(value) : value;
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
