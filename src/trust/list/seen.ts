import { AllowListIntegrityError, AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';

/** The highest revision of a list that was ever seen here, and the hash of its bytes. */
export interface Seen {
  /** The `revision` of that list. */
  readonly revision: number;
  /** base64url SHA-256, 43 characters. */
  readonly hash: string;
}

/** The name under which it lies beside the list. */
export const SEEN_KEY = 'seen.json';

/** Remembers nothing. The first reader of a new list remembers its revision. */
export const NOWHERE: DocumentStore = { read: async () => null, swap: async () => true };

/**
 * Remembers the highest revision seen per list, so that an older copy of a sealed document is noticed.
 *
 * It has to be read before the list itself: a writer puts the list down first, so a list that is older than what
 * was already remembered is really older.
 */
export class SeenRevisions {
  readonly #store: DocumentStore;
  readonly #inMemory = new Map<string, Seen>();

  constructor(store: DocumentStore) {
    this.#store = store;
  }

  async read(list: string): Promise<Seen | null> {
    const stored = (await this.#readAll())[list];
    // In memory too: a process that is running must not forget it when the file is removed.
    if (stored !== undefined) this.#note(list, stored);
    return this.#inMemory.get(list) ?? null;
  }

  /** Whether only this process remembers what it has seen: the record beside the list is older, or agrees with `hash`. */
  async isSetBack(list: string, hash: string): Promise<boolean> {
    const stored = (await this.#readAll())[list];
    const own = this.#inMemory.get(list);
    return (
      own !== undefined && (stored === undefined || stored.revision < own.revision || stored.hash === hash)
    );
  }

  /** Remembers a revision, in this process and, where the store can be written, for the ones after it. */
  async remember(list: string, seen: Seen): Promise<void> {
    this.#note(list, seen);
    try {
      for (let attempt = 0; attempt < 5; attempt++) {
        const bytes = await this.#store.read(SEEN_KEY).catch(throwDamaged);
        const all = parse(bytes);
        const known = all[list];
        if (known !== undefined && known.revision >= seen.revision) return;
        if (await this.#store.swap(SEEN_KEY, bytes, format({ ...all, [list]: seen }))) return;
      }
    } catch (error) {
      // A read-only folder is a fair way to run a server. What this process has seen it still knows.
      if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') throw error;
    }
  }

  /** Never a lower one: two readers at once may come here in either order. */
  #note(list: string, seen: Seen): void {
    const own = this.#inMemory.get(list);
    if (own === undefined || own.revision < seen.revision) this.#inMemory.set(list, seen);
  }

  /**
   * Starts anew with this one revision, in place of whatever lies there.
   *
   * @throws what the store throws; AmeshError `store_conflict`
   */
  async startAnew(list: string, seen: Seen): Promise<void> {
    const before = await this.#store.read(SEEN_KEY);
    if (!(await this.#store.swap(SEEN_KEY, before, format({ [list]: seen }))))
      throw new AmeshError(STORAGE_CODES.store_conflict);
    this.#note(list, seen);
  }

  async #readAll(): Promise<Record<string, Seen>> {
    return parse(await this.#store.read(SEEN_KEY).catch(throwDamaged));
  }
}

/** What is no file at all can remember nothing, and mends itself as little as a damaged one. */
function throwDamaged(error: unknown): never {
  const { cause } = error as { cause?: { code?: unknown } };
  if (cause?.code === 'EISDIR' || cause?.code === 'ENOTFILE') throw damaged();
  throw error;
}

function damaged(): AllowListIntegrityError {
  return new AllowListIntegrityError('seen.json, which remembers the newest allow list, is damaged.', {
    fix: 'Put it back from a backup, or go on from the list that lies there, if it is the newest',
    command: ['amesh', 'trust', 'reset', '--keep'],
  });
}

function format(all: Record<string, Seen>): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(all, null, 2)}\n`);
}

function parse(bytes: Uint8Array | null): Record<string, Seen> {
  if (bytes === null) return {};
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    const entries = Object.entries(value as Record<string, Seen>);
    if (entries.every(([, { revision, hash }]) => isRevision(revision) && typeof hash === 'string')) {
      return value as Record<string, Seen>;
    }
  } catch {
    // as below
  }
  throw damaged();
}

/** A number that no list comes to would leave no room for the next one. */
function isRevision(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 48;
}
