import type { Signer } from '../../core/crypto/provider';
import type { Fix } from '../../core/errors/define-codes';
import type { DocumentStore } from '../../storage/document-store';
import type { ListHead } from '../format/head';
import type { PagedList } from '../format/paged-list';

/** Where a list is stored, if not in a folder of its own. */
export interface ListPlace {
  /** Its key in the store; default `allow_list.json`. */
  readonly key?: string | undefined;
  /** Where the newest revision that was seen is recorded; default the store of the list. */
  readonly seen?: DocumentStore | undefined;
  /** The error if there is no list; default one for a folder. */
  readonly absent?: AbsentList | undefined;
}

/** What the error says if there is no list, and what to do. */
export type AbsentList = Fix & {
  /** One sentence. */
  readonly detail: string;
};

/** Which owners may seal the list, and who seals the next revision. */
export interface Owners {
  /** The owner, and the next one if there is one: compressed points, 33 bytes. */
  readonly owners: readonly Uint8Array[];
  /** A list with a lower revision is refused; default 0. */
  readonly minRevision?: number | undefined;
  /** An owner whose lists count again, although another one had replaced it: 33 bytes in base64url. Default none. */
  readonly returned?: string | undefined;
  /** One of the owners. Without it, the list can only be read. */
  readonly signer?: Signer | undefined;
}

/** A signer alone is the only owner. */
export type Owner = Signer | Owners;

/** What a new list replaces. */
export interface ReplacedList {
  /** The revision that the new list follows. */
  readonly after: number;
  /** The bytes in the store; null if there are none. */
  readonly bytes: Uint8Array | null;
  /** The head in these bytes, if it can be read. Its pages are removed later. */
  readonly head?: ListHead | undefined;
}

/** A list and its stored bytes. */
export interface OpenedList {
  /** The opened list. */
  readonly list: PagedList;
  /** The bytes of the head, with its seal. */
  readonly head: Uint8Array;
  /** The pages by their hashes, in the order of the head; none in a small list. */
  readonly pages: ReadonlyMap<string, Uint8Array>;
}
