/**
 * Where documents lie. Small on purpose: files, a database or a key-value store can all be one.
 * Every store passes the contract in test/support/document-store-contract.ts.
 */
export interface DocumentStore {
  /**
   * The bytes under a key, or null where there are none.
   *
   * @param atMost nobody wants more bytes than these; a store that can leaves the others where they are
   */
  read(key: string, atMost?: number): Promise<Uint8Array | null>;
  /**
   * Compare-and-swap: writes `next` if, and only if, the bytes are still `expected` (null: there are none).
   * Atomic and durable once it has returned; a crash leaves either the old bytes or the new.
   *
   * @returns false where somebody else was faster; nothing has changed then
   */
  swap(key: string, expected: Uint8Array | null, next: Uint8Array): Promise<boolean>;
  /**
   * Takes away what lies under a key, where it is of more than so many bytes. For those who did not read all of it, and
   * so cannot swap it; a store without it has given all that there is.
   */
  discard?(key: string, moreThan: number): Promise<void>;
  /**
   * A token that differs whenever the bytes may: cheap and synchronous, so that it can be asked for often.
   * A store without it is read anew instead.
   */
  stamp?(key: string): string;
  /**
   * Calls back when the bytes under a key may be others. A call that is missed does no harm: the document is also
   * read from time to time.
   */
  watch?(key: string, changed: () => void): void;
  /** Notes by which revision of a document an instance goes. Not sealed: it is told to people and decides nothing. */
  confirm?(key: string, instance: string, revision: number): Promise<void>;
  /** The revisions of those who have confirmed one within the last half minute. */
  confirmed?(key: string): Promise<readonly number[]>;
  /** For a while after a swap, `read` may still give the bytes from before it. */
  readonly isEventual?: boolean | undefined;
}
