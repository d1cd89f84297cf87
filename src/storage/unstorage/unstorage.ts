/**
 * A storage of unstorage, as far as it is used: types of our own, since it is an optional peer. `createStorage({
 * driver })` and `prefixStorage()` give one.
 */
export interface UnstorageLike {
  /** The bytes or the text of an item; null where there is none. */
  getItemRaw(key: string): Promise<unknown>;
  /** Writes an item. `ttl` is in seconds. */
  setItemRaw(key: string, value: unknown, options?: { readonly ttl?: number }): Promise<void>;
  /** Removes an item; one that is not there is no error. */
  removeItem?(key: string): Promise<void>;
  /** The driver that is responsible for a key. */
  getMount?(key: string): {
    /** What the keys of this driver begin with. */
    readonly base: string;
    /** The driver itself. */
    readonly driver: UnstorageDriver;
  };
}

/** A driver of unstorage, as far as it is looked at: its name tells whether it can compare and write in one step. */
export interface UnstorageDriver {
  /** Such as `redis`. */
  readonly name?: string | undefined;
  /** With which it was made. */
  readonly options?: unknown;
  /** The client below it. */
  getInstance?(): unknown;
}

/** @throws TypeError */
export function assertStorage(storage: UnstorageLike): void {
  if (typeof storage?.getItemRaw !== 'function' || typeof storage.setItemRaw !== 'function') {
    throw new TypeError('storage is one of unstorage: createStorage({ driver }).');
  }
}

/** The bytes of an item, never what was parsed of it; null where there is none. */
export async function readRaw(storage: UnstorageLike, key: string): Promise<Uint8Array | null> {
  const value = await storage.getItemRaw(key);
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return new TextEncoder().encode(value);
  if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0));
  if (ArrayBuffer.isView(value)) {
    return Uint8Array.from(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
  }
  throw new TypeError(`The storage gave a ${typeof value} where bytes are expected.`);
}
