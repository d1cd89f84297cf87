import { AllowListIntegrityError, isAmeshError } from '../core/errors';
import type { DocumentStore } from './document-store';

/** The highest revision of a list that was ever seen here, and the hash of its bytes. */
export interface Seen {
  readonly revision: number;
  /** base64url SHA-256, 43 characters. */
  readonly hash: string;
}

/** The name under which it lies beside the list. */
export const SEEN_KEY = 'seen.json';

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
    // Into the memory too: whoever takes the file away does not take it from a process that is running.
    if (stored !== undefined) this.#note(list, stored);
    return this.#inMemory.get(list) ?? null;
  }

  /** Remembers a revision, in this process and, where the store can be written, for the ones after it. */
  async remember(list: string, seen: Seen): Promise<void> {
    this.#note(list, seen);
    try {
      for (let attempt = 0; attempt < 5; attempt++) {
        const bytes = await this.#store.read(SEEN_KEY);
        const all = parse(bytes);
        const known = all[list];
        if (known !== undefined && known.revision >= seen.revision) return;
        const next = new TextEncoder().encode(`${JSON.stringify({ ...all, [list]: seen }, null, 2)}\n`);
        if (await this.#store.swap(SEEN_KEY, bytes, next)) return;
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

  async #readAll(): Promise<Record<string, Seen>> {
    return parse(await this.#store.read(SEEN_KEY));
  }
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
  throw new AllowListIntegrityError('seen.json, which remembers the newest allow list, is damaged.');
}

/** A number that no list comes to would leave no room for the next one. */
function isRevision(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 48;
}
