import { AllowListIntegrityError, AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';
import { type PastReset, type Seen, SeenInMemory } from './seen-in-memory';

/** The key of the record in the store of the list. */
export const SEEN_KEY = 'seen.json';

/** A store that remembers nothing: the first reader of a new list records its revision elsewhere. */
export const NOWHERE: DocumentStore = {
  read: async () => null,
  readPages: async () => [],
  swap: async () => true,
};

/** Remembers the newest list in this process and next to the list, to detect an older copy after a restart as well. */
export class SeenRevisions extends SeenInMemory {
  readonly #store: DocumentStore;

  /**
   * @param owners the configured owners: lists of the last one are newer than all others
   * @param returned one of them whose lists count again
   */
  constructor(store: DocumentStore, owners: readonly Uint8Array[] = [], returned?: string) {
    super(owners, returned);
    this.#store = store;
  }

  override async read(list: string): Promise<Seen | null> {
    const stored = (await this.#readAll())[list];
    // It is kept in memory, too: a running process must not forget it when somebody deletes the file.
    if (stored !== undefined) this.note(list, stored);
    return this.newest(list);
  }

  /** Whether only this process remembers what it has seen: the record next to the list is older, or agrees with `mark`. */
  async isSetBack(list: string, mark: string): Promise<boolean> {
    const stored = (await this.#readAll())[list];
    const own = this.newest(list);
    return own !== null && (stored === undefined || this.isNewer(own, stored) || stored.mark === mark);
  }

  /** Records a revision in this process and, if the store is writable, for later processes. */
  override async remember(list: string, seen: Seen): Promise<void> {
    this.note(list, seen);
    try {
      for (let attempt = 0; attempt < 5; attempt++) {
        const bytes = await this.#store.read(SEEN_KEY).catch(throwDamaged);
        const all = parse(bytes);
        const known = all[list];
        if (known !== undefined && !this.isNewer(seen, known)) return;
        const next = { ...(known?.reset && { reset: known.reset }), ...seen };
        if (await this.#store.swap(SEEN_KEY, bytes, format({ ...all, [list]: next }))) return;
      }
    } catch (error) {
      // A read-only folder is supported. This process still remembers what it has seen.
      if (isAmeshError(error) && error.code === 'allow_list_integrity_failure') throw error;
    }
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
    this.note(list, seen);
  }

  async #readAll(): Promise<Record<string, Seen>> {
    return parse(await this.#store.read(SEEN_KEY).catch(throwDamaged));
  }
}

/**
 * Throws for a path that is not a file: nothing can be recorded there, and that does not repair itself, so it counts as damaged.
 */
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

const NEVER: PastReset = { from: 0, atSeconds: 0 };

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

function isSeen({ revision, owner, mark, former = [], reset = NEVER }: Seen): boolean {
  const isText = (value: unknown) => typeof value === 'string';
  const isReset =
    Number.isSafeInteger(reset?.from) && reset.from >= 0 && Number.isSafeInteger(reset.atSeconds);
  const isOrdered = Array.isArray(former) && former.every(isText);
  return isRevision(revision) && isText(owner) && isText(mark) && isOrdered && isReset;
}

/** A larger number would leave no room for the next revision, and no list reaches it. */
function isRevision(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 48;
}
