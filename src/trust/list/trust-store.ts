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

/** The name under which the allow list lies in its store. */
export const ALLOW_LIST_KEY = 'allow_list.json';

const ATTEMPTS = 100;

/** Beyond it a list is opened and sealed in many turns, so that a server can answer in between. */
const LARGE = { bytes: 262_144, entries: 1000 };

/** Room for some 200,000 devices. Parsing more would stop a server for seconds before its seal could be looked at. */
const MAX_BYTES = 67_108_864;

/** A list that is not in the folder is mostly in a store, and seldom lost. A reset would then make a second list. */
const ABSENT = {
  /** What is missing, in one sentence. */
  detail: 'There is no allow_list.json in the folder.',
  /** What to do about it. */
  fix: 'If the list lies in a store, set AMESH_STORE_URL. If not, put the right one back, or start anew with',
  /** With which command. */
  command: ['amesh', 'trust', 'reset'],
};

const KEEP = ['amesh', 'trust', 'reset', '--keep'];

const OLDER: Fix = {
  fix: 'Put the newer one back. If that is lost, go on from this one, with what was changed since undone',
  command: KEEP,
};

const OTHER: Fix = {
  fix: 'Put the other one back. If that is lost, go on from this one, with what the other one has changed undone',
  command: KEEP,
};

const SET_BACK: Fix = {
  fix: 'Put the newer folder back. If that is lost, restart this process: it then goes on from this older list, with what was changed since undone.',
};

/** Where a list lies, if not in a folder of its own. */
export interface TrustPlace {
  /** The name under which it lies; default `allow_list.json`. */
  readonly key?: string | undefined;
  /** What remembers the revisions seen; default the store of the list. */
  readonly seen?: DocumentStore | undefined;
  /** What to say where no list is there; default what fits a folder. */
  readonly absent?: typeof ABSENT | undefined;
}

/** Whose key seals a list; without `sign` it can only be read. */
export type Owner =
  | Signer
  | {
      /** The compressed point, 33 bytes. */
      readonly publicKey: Uint8Array;
      /** Absent: the list can only be read. */
      readonly sign?: undefined;
    };

/** What a list says, beside what it is. */
export type ListContent = Partial<
  Pick<AllowListDocument, 'hosts' | 'devices' | 'tokens' | 'grants' | 'tombstones'>
>;

/** A list and the bytes that it was. */
export interface OpenedList {
  /** As they lie in the store, seal and all. */
  readonly bytes: Uint8Array;
  /** What they say; the seal was right. */
  readonly document: AllowListDocument;
}

interface LookedAt extends OpenedList {
  readonly news: Seen | null;
}

/** The allow list in its store: opened against the owner's key, never older than seen, changed by compare-and-swap. */
export class TrustStore {
  /** When its devices were last seen. It lies beside the list, and is no part of it. */
  readonly lastSeen: LastSeenRecord;
  readonly #seen: SeenRevisions;
  readonly #store: DocumentStore;
  readonly #owner: Owner;
  readonly #list: string;
  readonly #key: string;
  readonly #absent: typeof ABSENT;
  /** Whether both go back where the folder does. In a store a list can go back alone, and a restart must not make it count. */
  readonly #liesBesideSeen: boolean;

  /**
   * @param owner whose key has sealed the list, and seals the next revision
   * @param list the deviceId for which it is
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
   * @throws AllowListIntegrityError where it is absent, changed, another's, or older than one that was seen
   */
  async read(): Promise<AllowListDocument> {
    return (await this.#open()).document;
  }

  /**
   * As {@link read}, for those who read often.
   *
   * @param known the bytes that were read last
   * @param answered called when the store has given its bytes, which have yet to be opened
   * @returns null where they are still the same
   */
  async readChange(known: Uint8Array | null, answered?: () => void): Promise<OpenedList | null> {
    return this.#open(known, answered);
  }

  /** Notes by which revision an instance goes, where the store can keep that. */
  async confirm(instance: string, revision: number): Promise<void> {
    await this.#store.confirm?.(this.#key, instance, revision);
  }

  /**
   * How many instances are at work, and how many of them go by a revision at least; null where the store cannot tell.
   * Nothing of it is sealed.
   */
  async confirmations(revision: number): Promise<{ confirmed: number; instances: number } | null> {
    const all = await this.#store.confirmed?.(this.#key);
    if (all === undefined) return null;
    return { confirmed: all.filter((each) => each >= revision).length, instances: all.length };
  }

  /** Calls back when the list may have changed, where the store can tell; it cannot always. */
  watch(changed: () => void): void {
    this.#store.watch?.(this.#key, changed);
  }

  /**
   * Changes the list: reads it, applies the change, seals it and swaps it in; again where another process was faster.
   *
   * @param change gives the new document, or the one it was given where nothing is to be done; may run several times
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
          unseen = null; // the revision behind it is remembered
          return next;
        }
        await pause(Math.random() * 5 * Math.min(attempt + 1, 20)); // or the same ones would meet again
      }
      throw new AmeshError(STORAGE_CODES.store_conflict);
    } finally {
      if (unseen !== null) await this.#seen.remember(this.#list, unseen);
    }
  }

  /**
   * Creates the list.
   *
   * @param content what it holds; default: nothing
   * @param after the revision that it has to follow, where one was seen before
   * @param broken what lies there and is to be replaced
   * @throws AmeshError `store_conflict` where there is one
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
      throw new AmeshError(STORAGE_CODES.store_conflict, 'There is an allow list already.');
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

  /** Opens what lies there; `news` is what is yet to be remembered of it. */
  async #look(): Promise<LookedAt>;
  async #look(known: Uint8Array | null, answered?: () => void): Promise<LookedAt | null>;
  async #look(known: Uint8Array | null = null, answered?: () => void): Promise<LookedAt | null> {
    // What was seen has to be read first, see SeenRevisions.
    const seen = await this.#seen.read(this.#list);
    const bytes = await this.#store.read(this.#key, MAX_BYTES + 1);
    answered?.();
    if (known !== null && bytes !== null && Buffer.compare(bytes, known) === 0) return null;
    if (bytes === null) throw new AllowListIntegrityError(this.#absent.detail, this.#absent);
    if (bytes.length > MAX_BYTES)
      throw new AllowListIntegrityError('The allow list is larger than any list can be.');
    const open = bytes.length > LARGE.bytes ? openLarge : openDocument;
    const document = await open(bytes, this.#owner.publicKey, this.#list);
    const hash = await hashDocument(bytes);
    if (seen !== null && document.revision < seen.revision) {
      if (this.#store.isEventual) {
        throw new AmeshError(
          SERVER_CODES.allow_list_unavailable,
          `The store still shows revision ${document.revision} of the allow list, and ${seen.revision} was seen here.`,
        );
      }
      await this.#assertNotSetBack(document, hash, seen);
      throw new AllowListIntegrityError(
        `The allow list is an older copy: revision ${document.revision}, and ${seen.revision} was seen here.`,
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

  /** A folder that was restored as a whole is in order for every process but those that have seen more of it. */
  async #assertNotSetBack({ revision }: AllowListDocument, hash: string, seen: Seen): Promise<void> {
    if (!this.#liesBesideSeen || !(await this.#seen.isSetBack(this.#list, hash))) return;
    throw new AllowListIntegrityError(
      `The folder was set back while this process ran: its list is an older copy of revision ${revision}, and this process has seen ${seen.revision}.`,
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
