/** The pages that a swap changes together with the document. */
export interface PageChanges {
  /** The bytes of new pages, by their names. They are durable before the document that names them is written. */
  readonly write: ReadonlyMap<string, Uint8Array>;
  /** Names of pages that the document no longer needs. A store may keep them longer. */
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
   * @param atMost the most bytes that the caller needs; a store may return no more
   */
  read(key: string, atMost?: number): Promise<Uint8Array | null>;
  /**
   * Compare-and-swap: writes `next` if and only if the bytes are still `expected` (null: there are none). Atomic, and
   * durable once it returns. After a crash, either the old or the new bytes are there.
   *
   * @param pages the pages to write before the document, and those to remove after it
   * @returns false if the bytes are no longer `expected`: then nothing has changed, apart from pages that no document names
   */
  swap(key: string, expected: Uint8Array | null, next: Uint8Array, pages?: PageChanges): Promise<boolean>;
  /**
   * Reads pages of a document, in the order of `names`: null for a page that is missing or too large.
   *
   * @param names the base64url SHA-256 of each page, 43 characters
   * @param atMost the largest page, in bytes
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
  /** Reports which revision of a document an instance uses. It is not sealed; it is only shown to people, and no check uses it. */
  confirm?(key: string, instance: string, revision: number): Promise<void>;
  /** The revisions that instances reported within the last 30 s. */
  confirmed?(key: string): Promise<readonly number[]>;
  /** Whether `read` may return old bytes for a while after a swap. */
  readonly isEventual?: boolean | undefined;
}
