import { join } from 'node:path';
import type { Signer } from '../../core/crypto/provider';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { findBackend } from '../../keys/backends';
import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import { FileStore } from '../../storage/files/file-store';
import { isFile, ReplacedFiles } from '../../storage/files/replaced-files';
import { assertSameKey, type Device } from '../../trust/device';
import { TRUST_CODES } from '../../trust/errors/codes';
import { NoIdentityError } from '../../trust/errors/no-identity';
import { assertFolder } from '../../trust/folder-safety';
import type { ListDraft } from '../../trust/format/draft';
import { type ListHead, markOf } from '../../trust/format/head';
import type { PagedList } from '../../trust/format/paged-list';
import { readIdentity } from '../../trust/identity';
import { ALLOW_LIST_KEY, PAGES_FOLDER, sharedKey } from '../../trust/list/keys';
import type { OpenedList } from '../../trust/list/list-place';
import type { ListTrust } from '../../trust/list/list-reader';
import { ListStore } from '../../trust/list/list-store';
import { NOWHERE, SEEN_KEY, SeenRevisions } from '../../trust/list/seen';
import type { Seen } from '../../trust/list/seen-in-memory';
import { trustOf } from '../../trust/owner-key';
import { sharedStoreOf } from '../../trust/shared-store';
import { placeStagedList } from '../../trust/staged-list';
import { revisionOfReset } from './reset-revision';
import { type Aside, SETUP } from './setup';

/** The highest revision to continue from: a larger one would leave no room for changes. No real list comes near it. */
const MAX_SEEN = 2 ** 47;

/** How to reset a list. */
export interface ResetOptions {
  /** Continues from the stored list, although a newer one was seen before; default: from an empty list. */
  readonly keep?: boolean | undefined;
  /** With `keep`: the list to continue from, as `amesh list --export` prints it; default: the stored one. */
  readonly from?: Uint8Array | undefined;
  /** With `keep`: changes the list before it is sealed. It gets the head of the list that is kept, too. */
  readonly change?: ((draft: ListDraft, kept: ListHead) => Promise<void>) | undefined;
  /**
   * Called with the stored list before it is replaced; with null if it is missing or broken. If this throws, nothing changes. Default:
   * whatever is stored is replaced.
   */
  readonly check?: ((stored: PagedList | null) => void) | undefined;
  /** A revision that another instance has seen: the new list gets a higher one. Default: the revisions that are known here. */
  readonly above?: number | undefined;
  /** Seals the new list; default: the key that `identity.json` names. */
  readonly signer?: Signer | undefined;
}

/**
 * Replaces a broken or outdated allow list: with an empty one, after which all machines must pair again; or, with `keep`, with the
 * content of an older one, such as a restored backup. It keeps a copy of the old list, and swaps the new one in in one step, so
 * that a server always finds a list.
 *
 * @throws NoIdentityError; AmeshError of the key backend, and `list_moved` if a later owner seals the list; AllowListIntegrityError for
 *   a signer with another key than the identity; what `check` throws; with `keep` also what {@link readOlderList} throws
 */
export async function resetTrust(
  dir: string,
  env: Env,
  { keep = false, from, change, check, above = 0, signer: given }: ResetOptions = {},
): Promise<ListHead & Aside> {
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);
  return store.locked(SETUP, async (assertHeld) => {
    const identity = await readIdentity(store);
    if (identity === null) throw new NoIdentityError(dir);
    const trust = await trustOf(identity, env);
    const { list } = trust;
    if (given !== undefined) assertSameKey(identity, given); // another identity may have replaced its own
    const { backend, ref } = identity.key;
    const signer = given ?? (await findBackend(backend).open(ref, { dir, env }));
    const shared = sharedStoreOf(env);
    if (shared === null) await placeStagedList(store, identity).catch(() => {}); // a broken list is replaced below
    const opening = openAnyRevision(store, trust, shared);
    const older = await (keep && from === undefined ? opening : opening.catch(() => null));
    check?.(older?.list ?? null);
    const source = from === undefined ? older : await openExport(from, trust);
    const seen = await readSeen(store, trust);
    for (const owner of [older?.list.head.owner, seen?.owner])
      assertNotAfter(owner, identity.publicKey, trust, seen?.former);
    const broken = older?.head ?? (await readBroken(store, shared, list));
    const known = [seen?.revision, older?.list.head.revision, source?.list.head.revision, above];
    const newest = known.reduce<number>((a, b = 0) => Math.max(a, b), 0);
    const { after, reset } = revisionOfReset(newest, seen?.reset, Math.floor(Date.now() / 1000));

    const aside = new ReplacedFiles(dir);
    let made: ListHead;
    try {
      const damaged = seen === null ? [SEEN_KEY] : [];
      await aside.keep(shared === null ? [ALLOW_LIST_KEY, ...damaged] : damaged);
      if (shared === null) await aside.keepFolder(PAGES_FOLDER);
      if (shared !== null && broken !== null) await aside.keepBytes('shared_allow_list.json', broken);
      assertHeld();
      if (shared === null) await aside.clear(ALLOW_LIST_KEY);
      const writer = new ListStore(shared ?? store, { ...trust, minRevision: 0, signer }, list, {
        key: shared === null ? undefined : sharedKey(list),
        seen: NOWHERE,
      });
      const kept = keep ? source?.list : undefined;
      made = await writer.create((draft) => (kept === undefined ? undefined : fill(draft, kept, change)), {
        after,
        bytes: broken,
        head: older?.list.head,
      });
    } catch (error) {
      if (!(isAmeshError(error) && error.code === 'store_unsynced')) await aside.forget();
      throw error;
    }
    // Done only now: until the new list is in place, the old record must keep an older list out.
    const opened = await openAnyRevision(store, trust, shared);
    if (seen === null) await aside.clear(SEEN_KEY);
    await recordReset(new SeenRevisions(store, trust.owners), opened, seen, reset);
    return { ...made, movedTo: aside.movedTo };
  });
}

/** Records that the new list is the newest. */
async function recordReset(
  record: SeenRevisions,
  { head, list }: OpenedList,
  before: Awaited<ReturnType<typeof readSeen>>,
  reset: Seen['reset'],
): Promise<void> {
  const { revision, owner, list: id } = list.head;
  const former = record.formerOwners(owner, before?.owner === undefined ? null : (before as Seen));
  const mark = await markOf(head);
  const next = { revision, owner, mark, ...(former.length > 0 && { former }), reset };
  if (before === null) await record.startAnew(id, next);
  else await record.remember(id, next);
}

/**
 * Reads the allow list of a device, however old it is.
 *
 * @throws AllowListIntegrityError if it is missing, or not what the device sealed
 */
export async function readOlderList(device: Device, env: Env): Promise<PagedList> {
  const trust = await trustOf(device.identity, env);
  return (await openAnyRevision(device.store, trust, sharedStoreOf(env))).list;
}

/** A key must not replace a list that a later owner has sealed: instances that have seen that list would refuse every request. */
function assertNotAfter(
  owner: string | undefined,
  own: string,
  { owners }: ListTrust,
  former: readonly string[] = [],
): void {
  const texts = owners.map((key) => Buffer.from(key).toString('base64url'));
  const isLater = owner !== undefined && texts.indexOf(owner) > texts.indexOf(own);
  if (isLater || former.includes(own)) throw new AmeshError(TRUST_CODES.list_moved);
}

/** Copies another list into an empty one. */
async function fill(draft: ListDraft, list: PagedList, change: ResetOptions['change']): Promise<void> {
  const { was, succession, hosts, tokens, grants, joins, targets, ended } = list.head;
  draft.change({ was, succession, hosts, tokens, grants, joins, targets, ended });
  await draft.take(list.lines());
  await change?.(draft, list.head);
}

async function openAnyRevision(
  folder: DocumentStore,
  { owners, list }: ListTrust,
  shared: DocumentStore | null,
): Promise<OpenedList> {
  const key = shared === null ? undefined : sharedKey(list);
  return new ListStore(shared ?? folder, { owners }, list, { key, seen: NOWHERE }).open();
}

/** Opens a list that `amesh list --export` printed. */
export function openExport(bytes: Uint8Array, { owners, list }: ListTrust): Promise<OpenedList> {
  const text = { ...NOWHERE, read: async () => bytes };
  return new ListStore(text, { owners }, list, { seen: NOWHERE }).open();
}

/** The record if no list was seen yet. */
type Unseen = { readonly [Name in keyof Omit<Seen, 'revision'>]?: undefined } & { readonly revision: 0 };

/** Reads the record; null if it is damaged, or so high that no revision could follow. */
async function readSeen(store: FileStore, { owners, list }: ListTrust): Promise<Seen | Unseen | null> {
  try {
    const seen = await new SeenRevisions(store, owners).read(list);
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
