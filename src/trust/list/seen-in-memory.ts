import { toBase64Url } from '../../core/encoding';

/** The newest list that was ever seen here. */
export interface Seen {
  /** The `revision` of that list. */
  readonly revision: number;
  /** The public key that sealed it, 33 bytes in base64url. */
  readonly owner: string;
  /** The base64url SHA-256 of its head before the seal, 43 characters. */
  readonly mark: string;
  /** The former owners, in the form of `owner`: their lists no longer count, whatever is configured later. */
  readonly former?: readonly string[] | undefined;
  /** The first of the recent resets. Only the folder in which a list was reset records it. */
  readonly reset?: PastReset | undefined;
}

/** When a list was reset, and which revision it had before. */
export interface PastReset {
  /** The highest revision that was known before; 0 for none. */
  readonly from: number;
  /** Unix seconds. */
  readonly atSeconds: number;
}

/** How many former owners are remembered. */
const MAX_FORMER = 8;

/**
 * Remembers the newest list that this process has seen, to detect an older copy.
 *
 * Read it before the list itself: a writer writes the list first, so a list that is older than the record really is an
 * old copy.
 */
export class SeenInMemory {
  readonly #owners: readonly string[];
  readonly #returned: string | undefined;
  readonly #newest = new Map<string, Seen>();

  /**
   * @param owners the configured owners, in order: lists of a later owner are newer
   * @param returned one of them whose lists count again, although another one had replaced it
   */
  constructor(owners: readonly Uint8Array[] = [], returned?: string) {
    this.#owners = owners.map(toBase64Url);
    this.#returned = returned;
  }

  /** Remembers what another memory of this process has seen. */
  adopt(other: SeenInMemory): void {
    for (const [list, seen] of other.#newest) this.note(list, seen);
  }

  async read(list: string): Promise<Seen | null> {
    return this.newest(list);
  }

  async remember(list: string, seen: Seen): Promise<void> {
    this.note(list, seen);
  }

  protected newest(list: string): Seen | null {
    return this.#newest.get(list) ?? null;
  }

  /** Never records a lower revision: two concurrent reads may end in either order. */
  protected note(list: string, seen: Seen): void {
    const own = this.newest(list);
    if (own === null || this.isNewer(seen, own)) this.#newest.set(list, seen);
  }

  /**
   * The owners whose lists are refused after a list of this owner.
   *
   * @param owner the owner that sealed the list
   * @param seen the newest list before it
   */
  formerOwners(owner: string, seen: Seen | null): readonly string[] {
    const before = this.#owners.slice(0, Math.max(0, this.#owners.indexOf(owner)));
    const all = new Set([...(seen?.former ?? []), ...(seen === null ? [] : [seen.owner]), ...before]);
    all.delete(owner);
    return [...all].slice(-MAX_FORMER);
  }

  protected isNewer(a: Seen, b: Seen): boolean {
    if (a.owner !== this.#returned && b.former?.includes(a.owner)) return false;
    const position = this.#owners.indexOf(a.owner) - this.#owners.indexOf(b.owner);
    return position === 0 ? a.revision > b.revision : position > 0;
  }
}
