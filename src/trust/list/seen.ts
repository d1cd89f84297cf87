import { toBase64Url } from '../../core/encoding';
import { AllowListIntegrityError, AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';

/** The newest list that was ever seen here. */
export interface Seen {
  /** The `revision` of that list. */
  readonly revision: number;
  /** The public key that sealed it, 33 bytes in base64url. */
  readonly owner: string;
  /** The base64url SHA-256 of its head before the seal, 43 characters. */
  readonly mark: string;
}

/** Its key in the store of the list. */
export const SEEN_KEY = 'seen.json';

/** Remembers nothing. The first reader of a new list remembers its revision. */
export const NOWHERE: DocumentStore = {
  read: async () => null,
  readPages: async () => [],
  swap: async () => true,
};

/**
 * Remembers the highest revision seen of each list, to detect an older copy.
 *
 * Read it before the list itself: a writer writes the list first, so a list that is older than the record really is an
 * old copy.
 */
export class SeenRevisions {
  readonly #store: DocumentStore;
  readonly #owners: readonly string[];
  readonly #inMemory = new Map<string, Seen>();

  /** @param owners as they are set here: lists of the last one are newer than all others */
  constructor(store: DocumentStore, owners: readonly Uint8Array[] = []) {
    this.#store = store;
    this.#owners = owners.map(toBase64Url);
  }

  async read(list: string): Promise<Seen | null> {
    const stored = (await this.#readAll())[list];
    // In memory, too: a running process must not forget it when somebody deletes the file.
    if (stored !== undefined) this.#note(list, stored);
    return this.#inMemory.get(list) ?? null;
  }

  /** Whether only this process remembers what it has seen: the record beside the list is older, or agrees with `mark`. */
  async isSetBack(list: string, mark: string): Promise<boolean> {
    const stored = (await this.#readAll())[list];
    const own = this.#inMemory.get(list);
    return own !== undefined && (stored === undefined || this.#isNewer(own, stored) || stored.mark === mark);
  }

  /** Records a revision in this process and, if the store is writable, for later processes. */
  async remember(list: string, seen: Seen): Promise<void> {
    this.#note(list, seen);
    try {
      for (let attempt = 0; attempt < 5; attempt++) {
        const bytes = await this.#store.read(SEEN_KEY).catch(throwDamaged);
        const all = parse(bytes);
        const known = all[list];
        if (known !== undefined && !this.#isNewer(seen, known)) return;
        if (await this.#store.swap(SEEN_KEY, bytes, format({ ...all, [list]: seen }))) return;
      }
    } catch (error) {
      // A read-only folder is supported. This process still remembers what it has seen.
      if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') throw error;
    }
  }

  /** Never records a lower revision: two concurrent reads may end in either order. */
  #note(list: string, seen: Seen): void {
    const own = this.#inMemory.get(list);
    if (own === undefined || this.#isNewer(seen, own)) this.#inMemory.set(list, seen);
  }

  #isNewer(a: Seen, b: Seen): boolean {
    const position = this.#owners.indexOf(a.owner) - this.#owners.indexOf(b.owner);
    return position === 0 ? a.revision > b.revision : position > 0;
  }

  /**
   * Replaces the whole record with this one revision.
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

/** A path that is not a file remembers nothing. It cannot repair itself, so it counts as damaged. */
function throwDamaged(error: unknown): never {
  const { cause } = error as { cause?: { code?: unknown } };
  if (cause?.code === 'EISDIR' || cause?.code === 'ENOTFILE') throw damaged();
  throw error;
}

function damaged(): AllowListIntegrityError {
  return new AllowListIntegrityError('seen.json, which remembers the newest allow list, is damaged.', {
    fix: 'Restore it from a backup. If the stored list is the newest one, you can also continue from it',
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
    if (entries.every(([, seen]) => isSeen(seen))) {
      return value as Record<string, Seen>;
    }
  } catch {
    // as below
  }
  throw damaged();
}

function isSeen({ revision, owner, mark }: Seen): boolean {
  return isRevision(revision) && typeof owner === 'string' && typeof mark === 'string';
}

/** A number that no list comes to would leave no room for the next one. */
function isRevision(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 48;
}
