import type { Signer } from '../core/crypto/provider';
import { AllowListIntegrityError, AmeshError } from '../core/errors';
import { type AllowListDocument, hashDocument, openDocument, sealDocument } from './document';
import type { DocumentStore } from './document-store';
import { SeenRevisions } from './seen';

/** The name under which the allow list lies in its store. */
export const ALLOW_LIST_KEY = 'allow_list.json';

const ATTEMPTS = 100;

/** Room for some 200,000 devices. Parsing more would stop a server for seconds before its seal could be looked at. */
const MAX_BYTES = 67_108_864;

/** The allow list in its store: opened against the owner's key, never older than seen, changed by compare-and-swap. */
export class TrustStore {
  readonly #seen: SeenRevisions;
  readonly #store: DocumentStore;
  readonly #owner: Signer;
  readonly #list: string;

  /**
   * @param owner whose key has sealed the list, and seals the next revision
   * @param list the deviceId for which it is
   */
  constructor(store: DocumentStore, owner: Signer, list: string) {
    this.#store = store;
    this.#owner = owner;
    this.#list = list;
    this.#seen = new SeenRevisions(store);
  }

  /**
   * @throws AllowListIntegrityError where it is absent, changed, another's, or older than one that was seen
   */
  async read(): Promise<AllowListDocument> {
    return (await this.#open()).document;
  }

  /**
   * Changes the list: reads it, applies the change, seals it and swaps it in; again where somebody else was faster.
   *
   * @param change gives the new document, or the one it was given where nothing is to be done; may run several times
   * @throws what `change` throws; AmeshError `store_conflict` or `store_busy`, with nothing changed
   */
  async update(change: (document: AllowListDocument) => AllowListDocument): Promise<AllowListDocument> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { bytes, document } = await this.#open();
      const changed = change(document);
      if (changed === document) return document;
      const next = { ...changed, revision: document.revision + 1, updatedAt: Math.floor(Date.now() / 1000) };
      if (await this.#write(bytes, next)) return next;
      await pause(Math.random() * 5 * Math.min(attempt + 1, 20)); // or the same ones would meet again
    }
    throw new AmeshError('store_conflict');
  }

  /**
   * Puts down an empty list where there is none.
   *
   * @param after the revision that it has to follow, where one was seen before
   * @throws AmeshError `store_conflict` where there is one
   */
  async create(hosts: readonly string[], after = 0): Promise<AllowListDocument> {
    const document: AllowListDocument = {
      version: 1,
      owner: Buffer.from(this.#owner.publicKey).toString('base64url'),
      list: this.#list,
      revision: after + 1,
      updatedAt: Math.floor(Date.now() / 1000),
      hosts,
      devices: [],
      tokens: [],
      grants: [],
      tombstones: [],
    };
    if (!(await this.#write(null, document)))
      throw new AmeshError('store_conflict', 'There is an allow list already.');
    return document;
  }

  async #open(): Promise<{ bytes: Uint8Array; document: AllowListDocument }> {
    // What was seen has to be read first, see SeenRevisions.
    const seen = await this.#seen.read(this.#list);
    const bytes = await this.#store.read(ALLOW_LIST_KEY);
    if (bytes === null)
      throw new AllowListIntegrityError('The allow list is gone, though this machine has an identity.');
    if (bytes.length > MAX_BYTES)
      throw new AllowListIntegrityError('The allow list is larger than any list can be.');
    const document = await openDocument(bytes, this.#owner.publicKey, this.#list);
    const hash = await hashDocument(bytes);
    if (seen !== null && document.revision < seen.revision) {
      throw new AllowListIntegrityError(
        `The allow list is an older copy: revision ${document.revision}, and ${seen.revision} was seen here.`,
      );
    }
    if (seen?.revision === document.revision && seen.hash !== hash) {
      throw new AllowListIntegrityError(
        `There are two different allow lists of revision ${document.revision}.`,
      );
    }
    if (seen?.revision !== document.revision) {
      await this.#seen.remember(this.#list, { revision: document.revision, hash });
    }
    return { bytes, document };
  }

  async #write(expected: Uint8Array | null, document: AllowListDocument): Promise<boolean> {
    const bytes = await sealDocument(document, this.#owner);
    if (!(await this.#store.swap(ALLOW_LIST_KEY, expected, bytes))) return false;
    await this.#seen.remember(this.#list, { revision: document.revision, hash: await hashDocument(bytes) });
    return true;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
