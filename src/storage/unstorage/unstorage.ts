/**
 * The parts of a storage of unstorage that are used. These are our own types, since it is an optional peer dependency.
 * `createStorage({ driver })` and `prefixStorage()` return one.
 */
export interface UnstorageLike {
  /** The bytes or text of an item; null if there is none. */
  getItemRaw(key: string): Promise<unknown>;
  /** Writes an item. `ttl` is in seconds. */
  setItemRaw(key: string, value: unknown, options?: { readonly ttl?: number }): Promise<void>;
  /** Removes an item. It is not an error if there is none. */
  removeItem?(key: string): Promise<void>;
  /** The driver of a key. */
  getMount?(key: string): UnstorageMount;
  /** All drivers. */
  getMounts?(): readonly UnstorageMount[];
}

/** A driver, and the keys that it has. */
export interface UnstorageMount {
  /** The common prefix of this driver's keys. */
  readonly base: string;
  /** The driver itself. */
  readonly driver: UnstorageDriver;
}

/** A driver of unstorage: its name shows whether it has compare-and-swap. */
export interface UnstorageDriver {
  /** For example `redis`. */
  readonly name?: string | undefined;
  /** Its options. */
  readonly options?: unknown;
  /** Its underlying client. */
  getInstance?(): unknown;
}

/** @throws TypeError */
export function assertStorage(storage: UnstorageLike): void {
  if (typeof storage?.getItemRaw !== 'function' || typeof storage.setItemRaw !== 'function') {
    throw new TypeError('storage must be a storage of unstorage: createStorage({ driver }).');
  }
}

/**
 * Whether a storage adds a prefix to each key. `prefixStorage()` copies `getMount` and `getMounts` unchanged, so there they know the
 * keys of the whole storage. Only the methods that it replaces show that: they have no name.
 */
export function hasPrefix(storage: UnstorageLike): boolean {
  return storage.getItemRaw.name !== 'getItemRaw';
}

/** The drivers that may have a key: one; or all, if the storage adds a prefix. None if that is not known. */
export function driversOf(storage: UnstorageLike, key: string): readonly UnstorageDriver[] {
  const mounts = hasPrefix(storage) ? storage.getMounts?.() : [storage.getMount?.(key)];
  return (mounts ?? []).flatMap((mount) => (mount === undefined ? [] : [mount.driver]));
}

/**
 * The bytes of an item, never a parsed value; null if there is none.
 *
 * @param atMost how many bytes to copy, or a little more, if the storage returns more
 */
export async function readRaw(
  storage: UnstorageLike,
  key: string,
  atMost = Number.MAX_SAFE_INTEGER,
): Promise<Uint8Array | null> {
  const value = await storage.getItemRaw(key);
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return new TextEncoder().encode(value.slice(0, atMost));
  if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0, atMost));
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteOffset, byteLength } = value;
    return Uint8Array.from(new Uint8Array(buffer, byteOffset, Math.min(byteLength, atMost)));
  }
  throw new TypeError(`The storage returned a ${typeof value} instead of bytes.`);
}
