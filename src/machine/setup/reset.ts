import { join } from 'node:path';
import type { Signer } from '../../core/crypto/provider';
import { isAmeshError } from '../../core/errors/amesh-error';
import { findBackend } from '../../keys/backends';
import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import { FileStore } from '../../storage/files/file-store';
import { isFile, ReplacedFiles } from '../../storage/files/replaced-files';
import type { Device } from '../../trust/device';
import { NoIdentityError } from '../../trust/errors/no-identity';
import { assertFolder } from '../../trust/folder-safety';
import type { ListDraft } from '../../trust/format/draft';
import { type ListHead, markOf } from '../../trust/format/head';
import type { PagedList } from '../../trust/format/paged-list';
import { readIdentity } from '../../trust/identity';
import { ALLOW_LIST_KEY, PAGES_FOLDER, sharedKey } from '../../trust/list/keys';
import { ListStore, type OpenedList } from '../../trust/list/list-store';
import { MAX_JUMP } from '../../trust/list/newest';
import { NOWHERE, SEEN_KEY, SeenRevisions } from '../../trust/list/seen';
import type { Seen } from '../../trust/list/seen-in-memory';
import { sharedStoreOf } from '../../trust/shared-store';
import { placeStagedList } from '../../trust/staged-list';
import { type Aside, SETUP } from './setup';

/** The highest revision to continue from: a larger one would leave no room for more. No real list comes near it. */
const MAX_SEEN = 2 ** 47;

/** How to reset a list. */
export interface ResetOptions {
  /** Continues from the stored list, although it is older than one seen before; default: from an empty list. */
  readonly keep?: boolean | undefined;
}

/**
 * Replaces a broken or outdated allow list: by an empty one, after which all machines must pair again, or with `keep` by
 * the content of an older one, such as a restored backup. It keeps a copy of the old list, and swaps the new one in with
 * one step, so that a server always finds a list.
 *
 * @throws NoIdentityError; AmeshError of the key backend; with `keep` also what {@link readOlderList} throws
 */
export async function resetTrust(
  dir: string,
  env: Env,
  { keep = false }: ResetOptions = {},
): Promise<ListHead & Aside> {
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);
  return store.locked(SETUP, async (assertHeld) => {
    const identity = await readIdentity(store);
    if (identity === null) throw new NoIdentityError(dir);
    const list = identity.deviceId;
    const signer = await findBackend(identity.key.backend).open(identity.key.ref, { dir, env });
    const shared = sharedStoreOf(env);
    if (shared === null) await placeStagedList(store, identity).catch(() => {}); // a broken one is replaced below
    const opening = openAnyRevision(store, signer, list, shared);
    const older = await (keep ? opening : opening.catch(() => null));
    const seen = await readSeen(store, list);
    const broken = older?.head ?? (await readBroken(store, shared, list));
    // Other instances may have seen a newer revision than these files record. This jump passes it, and is small enough for
    // the instances to accept.
    const after = Math.max(seen?.revision ?? 0, older?.list.head.revision ?? 0) + MAX_JUMP / 2;

    const aside = new ReplacedFiles(dir);
    let made: ListHead;
    try {
      const damaged = seen === null ? [SEEN_KEY] : [];
      await aside.keep(shared === null ? [ALLOW_LIST_KEY, ...damaged] : damaged);
      if (shared === null) await aside.keepFolder(PAGES_FOLDER);
      if (shared !== null && broken !== null) await aside.keepBytes('shared_allow_list.json', broken);
      assertHeld();
      if (shared === null) await aside.clear(ALLOW_LIST_KEY);
      const trust = new ListStore(shared ?? store, signer, list, {
        key: shared === null ? undefined : sharedKey(list),
        seen: NOWHERE,
      });
      const kept = keep ? older?.list : undefined;
      made = await trust.create((draft) => (kept === undefined ? undefined : fill(draft, kept)), {
        after,
        bytes: broken,
        head: older?.list.head,
      });
    } catch (error) {
      if (!(isAmeshError(error) && error.code === 'store_unsynced')) await aside.forget();
      throw error;
    }
    // Only now: until the new list is in place, the old record must keep an older list out.
    const opened = await openAnyRevision(store, signer, list, shared);
    const { revision, owner } = opened.list.head;
    const newest = { revision, owner, mark: await markOf(opened.head) };
    if (seen !== null) await new SeenRevisions(store).remember(list, newest);
    else {
      await aside.clear(SEEN_KEY);
      await new SeenRevisions(store).startAnew(list, newest);
    }
    return { ...made, movedTo: aside.movedTo };
  });
}

/**
 * Reads the allow list of a device, however old it is.
 *
 * @throws AllowListIntegrityError if it is missing, or not what the device sealed
 */
export async function readOlderList(device: Device, env: Env): Promise<PagedList> {
  const { identity, signer, store } = device;
  return (await openAnyRevision(store, signer, identity.deviceId, sharedStoreOf(env))).list;
}

/** Copies another list into an empty one. */
async function fill(draft: ListDraft, list: PagedList): Promise<void> {
  const { hosts, tokens, grants, joins, targets, ended } = list.head;
  draft.change({ hosts, tokens, grants, joins, targets, ended });
  await draft.take(list.lines());
}

async function openAnyRevision(
  folder: DocumentStore,
  { publicKey }: Signer,
  list: string,
  shared: DocumentStore | null,
): Promise<OpenedList> {
  const key = shared === null ? undefined : sharedKey(list);
  const trust = new ListStore(shared ?? folder, { publicKey }, list, { key, seen: NOWHERE });
  return trust.open();
}

/** Null if the record is damaged, or so high that no revision could follow. */
async function readSeen(store: FileStore, list: string): Promise<Seen | { readonly revision: 0 } | null> {
  try {
    const seen = await new SeenRevisions(store).read(list);
    return seen === null ? { revision: 0 } : seen.revision < MAX_SEEN ? seen : null;
  } catch {
    return null;
  }
}

/** The bytes that the new list replaces; null if they are not a regular file and must be moved away first. */
async function readBroken(
  store: FileStore,
  shared: DocumentStore | null,
  list: string,
): Promise<Uint8Array | null> {
  if (shared !== null) return shared.read(sharedKey(list));
  return (await isFile(join(store.dir, ALLOW_LIST_KEY))) ? store.read(ALLOW_LIST_KEY) : null;
}
