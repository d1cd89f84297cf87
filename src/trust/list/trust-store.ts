import type { Signer } from '../../core/crypto/provider';
import { AllowListIntegrityError, AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import type { Fix } from '../../core/errors/define-codes';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';
import { TRUST_CODES } from '../errors/codes';
import type { AllowListDocument } from './document';
import { LAST_SEEN_KEY, LastSeenRecord } from './last-seen';
import { openLarge } from './open-large';
import { hashDocument, openDocument, sealDocument } from './seal';
import { sealLarge } from './seal-large';
import { type Seen, SeenRevisions } from './seen';

/** The key of the allow list in its store. */
export const ALLOW_LIST_KEY = 'allow_list.json';

const ATTEMPTS = 100;

/** A larger list is opened and sealed in many turns of the event loop, so that a server can respond in between. */
const LARGE = { bytes: 262_144, entries: 1000 };

/** Room for some 200,000 devices. A larger text would block a server for seconds before the seal could be checked. */
const MAX_BYTES = 67_108_864;

/** A list that is missing from the folder is usually in a store. A reset would then create a second list. */
const ABSENT = {
  /** What is missing: one sentence. */
  detail: 'There is no allow_list.json in the folder.',
  /** How to fix it. */
  fix: 'If the list is in a store, set AMESH_STORE_URL. If not, restore it, or start an empty one with',
  /** The command that does so. */
  command: ['amesh', 'trust', 'reset'],
};

const KEEP = ['amesh', 'trust', 'reset', '--keep'];

const OLDER: Fix = {
  fix: 'Restore the newer one. If it is lost, continue from this one, without the changes since',
  command: KEEP,
};

const OTHER: Fix = {
  fix: 'Restore the other one. If it is lost, continue from this one, without the changes in the other',
  command: KEEP,
};

const SET_BACK: Fix = {
  fix: 'Restore the newer folder. If it is lost, restart this process: it then continues from this older list, without the changes since.',
};

/** Where a list is stored, if not in its own folder. */
export interface TrustPlace {
  /** Its key in the store; default `allow_list.json`. */
  readonly key?: string | undefined;
  /** The store that remembers the revisions seen; default the store of the list. */
  readonly seen?: DocumentStore | undefined;
  /** The error if there is no list; default one for a folder. */
  readonly absent?: typeof ABSENT | undefined;
}

/** The key that seals a list. Without `sign`, the list is read-only. */
export type Owner =
  | Signer
  | {
      /** The key that sealed the list: the compressed point, 33 bytes. */
      readonly publicKey: Uint8Array;
      /** Always absent: without it, the list cannot be changed. */
      readonly sign?: undefined;
    };

/** The content of a list, without its version, owner, revision and time. */
export type ListContent = Partial<
  Pick<AllowListDocument, 'hosts' | 'devices' | 'tokens' | 'grants' | 'tombstones'>
>;

/** A list, and the bytes it was read from. */
export interface OpenedList {
  /** As stored, with the seal. */
  readonly bytes: Uint8Array;
  /** Their content, with a valid seal. */
  readonly document: AllowListDocument;
}

interface LookedAt extends OpenedList {
  readonly news: Seen | null;
}

/** The allow list in its store: its seal is verified, an older copy is rejected, and changes use compare-and-swap. */
export class TrustStore {
  /** When its devices last made accepted requests. It is stored beside the list and not sealed. */
  readonly lastSeen: LastSeenRecord;
  readonly #seen: SeenRevisions;
  readonly #store: DocumentStore;
  readonly #owner: Owner;
  readonly #list: string;
  readonly #key: string;
  readonly #absent: typeof ABSENT;
  /** Whether restoring the folder restores both. In a shared store the list alone may be old, and a restart must not accept it. */
  readonly #liesBesideSeen: boolean;

  /**
   * @param owner the key that sealed the list, and seals the next revision
   * @param list the device ID of the target that it belongs to
   */
  constructor(store: DocumentStore, owner: Owner, list: string, place: TrustPlace = {}) {
    this.#store = store;
    this.#owner = owner;
    this.#list = list;
    this.#key = place.key ?? ALLOW_LIST_KEY;
    this.#absent = place.absent ?? ABSENT;
    this.lastSeen = new LastSeenRecord(store, this.#key.replace(ALLOW_LIST_KEY, LAST_SEEN_KEY));
    this.#seen = new SeenRevisions(place.seen ?? store);
    this.#liesBesideSeen = place.seen === undefined;
  }

  /**
   * @throws AllowListIntegrityError if it is missing, changed, of another device, or older than one seen before
   */
  async read(): Promise<AllowListDocument> {
    return (await this.#open()).document;
  }

  /**
   * Like {@link read}, but skips a list that has not changed.
   *
   * @param known the bytes of the last read
   * @param answered called when the store has returned bytes, before they are opened
   * @returns null if the bytes are the same
   */
  async readChange(known: Uint8Array | null, answered?: () => void): Promise<OpenedList | null> {
    return this.#open(known, answered);
  }

  /** Reports the revision that an instance uses, if the store supports it. */
  async confirm(instance: string, revision: number): Promise<void> {
    await this.#store.confirm?.(this.#key, instance, revision);
  }

  /**
   * How many instances are running, and how many of them use at least this revision; null if the store cannot tell. None of
   * it is sealed.
   */
  async confirmations(revision: number): Promise<{ confirmed: number; instances: number } | null> {
    const all = await this.#store.confirmed?.(this.#key);
    if (all === undefined) return null;
    return { confirmed: all.filter((each) => each >= revision).length, instances: all.length };
  }

  /** Calls back when the list may have changed, if the store supports it; some changes go unreported. */
  watch(changed: () => void): void {
    this.#store.watch?.(this.#key, changed);
  }

  /**
   * Changes the list: reads it, applies the change, seals it and swaps it in. Repeats this if another process was faster.
   *
   * @param change returns the new document, or the same one for no change; may run several times
   * @throws what `change` throws; AmeshError `store_conflict` or `store_busy`, with nothing changed
   */
  async update(change: (document: AllowListDocument) => AllowListDocument): Promise<AllowListDocument> {
    let unseen: Seen | null = null;
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const { bytes, document, news } = await this.#look();
        unseen = news;
        const changed = change(document);
        if (changed === document) return document;
        const next = {
          ...changed,
          revision: document.revision + 1,
          updatedAt: Math.floor(Date.now() / 1000),
        };
        if (await this.#write(bytes, next)) {
          unseen = null; // #write recorded the newer revision
          return next;
        }
        await pause(Math.random() * 5 * Math.min(attempt + 1, 20)); // random, so that the same writers do not collide again
      }
      throw new AmeshError(STORAGE_CODES.store_conflict);
    } finally {
      if (unseen !== null) await this.#seen.remember(this.#list, unseen);
    }
  }

  /**
   * Creates the list.
   *
   * @param content what it contains; default: nothing
   * @param after the revision before the first one; higher if one was seen already
   * @param broken the bytes to replace; null if there should be none
   * @throws AmeshError `store_conflict` if there is a list already
   */
  async create(
    content: ListContent,
    after = 0,
    broken: Uint8Array | null = null,
  ): Promise<AllowListDocument> {
    const { hosts = [], devices = [], tokens = [], grants = [], tombstones = [] } = content;
    const document: AllowListDocument = {
      version: 1,
      owner: Buffer.from(this.#owner.publicKey).toString('base64url'),
      list: this.#list,
      revision: after + 1,
      updatedAt: Math.floor(Date.now() / 1000),
      hosts,
      devices,
      tokens,
      grants,
      tombstones,
    };
    if (!(await this.#write(broken, document)))
      throw new AmeshError(STORAGE_CODES.store_conflict, 'There is already an allow list.');
    return document;
  }

  async #open(): Promise<OpenedList>;
  async #open(known: Uint8Array | null, answered?: () => void): Promise<OpenedList | null>;
  async #open(known: Uint8Array | null = null, answered?: () => void): Promise<OpenedList | null> {
    const looked = await this.#look(known, answered);
    if (looked === null) return null;
    const { news, ...opened } = looked;
    if (news !== null) await this.#seen.remember(this.#list, news);
    return opened;
  }

  /** Opens the stored list. `news` is the revision still to be recorded. */
  async #look(): Promise<LookedAt>;
  async #look(known: Uint8Array | null, answered?: () => void): Promise<LookedAt | null>;
  async #look(known: Uint8Array | null = null, answered?: () => void): Promise<LookedAt | null> {
    // Read the recorded revision before the list, see SeenRevisions.
    const seen = await this.#seen.read(this.#list);
    const bytes = await this.#store.read(this.#key, MAX_BYTES + 1);
    answered?.();
    if (known !== null && bytes !== null && Buffer.compare(bytes, known) === 0) return null;
    if (bytes === null) throw new AllowListIntegrityError(this.#absent.detail, this.#absent);
    if (bytes.length > MAX_BYTES)
      throw new AllowListIntegrityError('The allow list is larger than the limit of 64 MiB.');
    const open = bytes.length > LARGE.bytes ? openLarge : openDocument;
    const document = await open(bytes, this.#owner.publicKey, this.#list);
    const hash = await hashDocument(bytes);
    if (seen !== null && document.revision < seen.revision) {
      if (this.#store.isEventual) {
        throw new AmeshError(
          SERVER_CODES.allow_list_unavailable,
          `The store still has revision ${document.revision} of the allow list, but this machine has seen ${seen.revision}.`,
        );
      }
      await this.#assertNotSetBack(document, hash, seen);
      throw new AllowListIntegrityError(
        `The allow list is an older copy: revision ${document.revision}, but this machine has seen ${seen.revision}.`,
        OLDER,
      );
    }
    if (seen?.revision === document.revision && seen.hash !== hash) {
      await this.#assertNotSetBack(document, hash, seen);
      throw new AllowListIntegrityError(
        `There are two different allow lists of revision ${document.revision}.`,
        OTHER,
      );
    }
    const isNews = seen?.revision !== document.revision;
    return { bytes, document, news: isNews ? { revision: document.revision, hash } : null };
  }

  /** A folder restored as a whole is consistent, except for a running process that has seen newer revisions. */
  async #assertNotSetBack({ revision }: AllowListDocument, hash: string, seen: Seen): Promise<void> {
    if (!this.#liesBesideSeen || !(await this.#seen.isSetBack(this.#list, hash))) return;
    throw new AllowListIntegrityError(
      `The folder was restored to an older state while this process ran: its list has revision ${revision}, but this process has seen ${seen.revision}.`,
      SET_BACK,
    );
  }

  async #write(expected: Uint8Array | null, document: AllowListDocument): Promise<boolean> {
    if (this.#owner.sign === undefined)
      throw new AmeshError(
        TRUST_CODES.no_identity,
        'This instance has no private key, so it cannot change the allow list.',
      );
    const { devices, tokens, grants, tombstones } = document;
    const entries = devices.length + tokens.length + grants.length + tombstones.length;
    const seal = entries > LARGE.entries ? sealLarge : sealDocument;
    const bytes = await seal(document, this.#owner);
    if (!(await this.#store.swap(this.#key, expected, bytes))) return false;
    await this.#seen.remember(this.#list, { revision: document.revision, hash: await hashDocument(bytes) });
    return true;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
