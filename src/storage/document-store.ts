/** What a swap changes beside the document itself. */
export interface PageChanges {
  /** The bytes of new pages, by their names. They are as durable as the document before it names them. */
  readonly write: ReadonlyMap<string, Uint8Array>;
  /** Names of pages that the document does not need any more. A store may keep them for longer. */
  readonly remove: readonly string[];
}

/**
 * Stores documents. It is a small interface, so that files, a database or a key-value store can implement it. Every store
 * passes the contract in test/support/document-store-contract.ts.
 */
export interface DocumentStore {
  /**
   * The bytes of a key, or null if there are none.
   *
   * @param atMost the caller needs no more bytes than these; a store may return only so many
   */
  read(key: string, atMost?: number): Promise<Uint8Array | null>;
  /**
   * Compare-and-swap: writes `next` if and only if the bytes are still `expected` (null: there are none). Atomic, and
   * durable once it returns. After a crash, either the old or the new bytes are there.
   *
   * @param pages pages that are written before it, and others that go after it
   * @returns false where somebody else was faster; nothing that counts has changed then
   */
  swap(key: string, expected: Uint8Array | null, next: Uint8Array, pages?: PageChanges): Promise<boolean>;
  /**
   * Pages of a document, in the order of their names; null for one that is not there, or is larger than a page can be.
   *
   * @param names base64url SHA-256 of their bytes, 43 characters each
   * @param atMost bytes of a page
   */
  readPages(key: string, names: readonly string[], atMost: number): Promise<readonly (Uint8Array | null)[]>;
  /**
   * Removes the bytes of a key, if there are more than `moreThan`: for a caller that did not read all of them, and so
   * cannot swap them. A store without this method always returns all bytes.
   */
  discard?(key: string, moreThan: number): Promise<void>;
  /**
   * A token that changes whenever the bytes may have changed. It is cheap and synchronous, for frequent calls. A store
   * without it is read instead.
   */
  stamp?(key: string): string;
  /**
   * Calls back when the bytes of a key may have changed. A missed call does no harm: the document is also read at
   * intervals.
   */
  watch?(key: string, changed: () => void): void;
  /** Reports which revision of a document an instance uses. It is not sealed, only shown to people, and decides nothing. */
  confirm?(key: string, instance: string, revision: number): Promise<void>;
  /** The revisions that instances reported within the last 30 s. */
  confirmed?(key: string): Promise<readonly number[]>;
  /** Whether `read` may return old bytes for a while after a swap. */
  readonly isEventual?: boolean | undefined;
}
