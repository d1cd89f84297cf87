import { readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { cryptoProvider } from '#crypto';
import type { Signer } from '../../core/crypto/provider';
import { deviceIdOf } from '../../core/devices/allow-list';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import type { KeyBackend } from '../../keys/backend';
import { findBackend } from '../../keys/backends';
import { KEY_CODES } from '../../keys/errors/codes';
import { external } from '../../keys/external';
import { assertPath } from '../../process/environment';
import type { Env } from '../../process/home';
import type { DocumentStore } from '../../storage/document-store';
import { STORAGE_CODES } from '../../storage/errors/codes';
import { FileStore } from '../../storage/files/file-store';
import { isFile, ReplacedFiles } from '../../storage/files/replaced-files';
import { openTrust } from '../../trust/device';
import { assertFolder } from '../../trust/folder-safety';
import { claimedOwner } from '../../trust/format/head';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity, writeIdentity } from '../../trust/identity';
import { ALLOW_LIST_KEY, isLastSeen, PAGES_FOLDER, sharedKey } from '../../trust/list/keys';
import type { OpenedList } from '../../trust/list/list-place';
import { ListStore } from '../../trust/list/list-store';
import { NOWHERE, SEEN_KEY, SeenRevisions } from '../../trust/list/seen';
import { cleanName } from '../../trust/names';
import { sharedStoreOf } from '../../trust/shared-store';
import { isStaged, placeStagedList, stagedKey } from '../../trust/staged-list';
import { MACHINE_CODES } from '../errors/codes';
import { ROTATION_KEY } from '../rotation/rotation-file';
import { planFirstList } from './first-list';
import { ignoreInGit } from './git-ignore';
import { openDevice } from './open-device';

/** The lock for creating an identity and resetting a list. */
export const SETUP = 'setup';

/** The properties of a new identity. */
export interface CreateIdentityOptions {
  /** What others will call this machine; cleaned, at most 64 code points. */
  readonly friendlyName: string;
  /** The key backend; default `encrypted-file`. */
  readonly backend?: string | undefined;
  /** For `ssh-agent`: the key, by its fingerprint (`SHA256:…`) or its comment. Default: the only key that fits. */
  readonly agentKey?: string | undefined;
  /**
   * For `ssh-agent`: the socket of the agent, kept for later. Default: AMESH_SSH_AUTH_SOCK or SSH_AUTH_SOCK, now and at each later
   * use.
   */
  readonly agentSocket?: string | undefined;
  /**
   * The public key of a private key outside amesh: a compressed P-256 point, 33 bytes. Its list is sealed when a program with a
   * signer first opens the identity.
   */
  readonly publicKey?: Uint8Array | undefined;
  /** The authorities that it accepts, in normal form. */
  readonly hosts?: readonly string[] | undefined;
  /** Replaces an existing identity. Copies of its files are kept, but every pairing is lost. */
  readonly force?: boolean | undefined;
}

/** The folder with copies of replaced files. */
export interface Aside {
  /** An absolute path; null if nothing was moved. */
  readonly movedTo: string | null;
}

/** Where the list is stored now. */
export interface Published {
  /** Whether the list is now in the store of AMESH_STORE_URL. */
  readonly published: boolean;
  /** Whether the identity existed before, and is unchanged. */
  readonly wasThere: boolean;
  /** The authorities that this machine accepts. */
  readonly hosts: readonly string[];
}

/**
 * Creates this machine's key, identity and empty sealed allow list; in a git work tree also a .gitignore for them. It writes
 * identity.json last: until then there is no identity, so an interrupted command can run again. If there is an identity already,
 * and the store of AMESH_STORE_URL has no list for it, the list in the folder moves to the store, and a copy stays here.
 *
 * @param shared where to store the list; default the store in AMESH_STORE_URL, or the folder
 * @throws AmeshError `identity_exists`, `key_backend_unavailable`, `folder_unsafe`, and for a key of an agent `key_not_chosen`,
 *   `key_refused`; TypeError for an option that the backend does not have, and for a `publicKey` that is not a point on the curve
 */
export async function createIdentity(
  dir: string,
  env: Env,
  options: CreateIdentityOptions,
  shared: DocumentStore | null = sharedStoreOf(env),
): Promise<DeviceIdentity & Aside & Published> {
  const backend = await backendFor(options);
  const isOutside = backend === external;
  const context = {
    dir,
    env,
    isForced: options.force,
    publicKey: options.publicKey,
    ...agentOptions(options),
  };
  const probe = await backend.probe(context);
  if (!probe.available) throw new AmeshError(KEY_CODES.key_backend_unavailable, probe.reason, probe.advice);
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);

  return store.locked(SETUP, async (assertHeld) => {
    assertFolder(dir, env, 'read'); // in /tmp another user may have created it just before us
    // Something that is not a file is an unreadable identity, and may be replaced like any other.
    const isThere = store.stamp(IDENTITY_KEY) !== 'absent';
    const before = (await isFile(join(dir, IDENTITY_KEY))) ? await store.read(IDENTITY_KEY) : null;
    if (isThere && !options.force && shared !== null) {
      const published = await publish(store, env, shared);
      if (published !== null) return { ...published, published: true, wasThere: true };
    }
    if (isThere && !options.force)
      throw new AmeshError(MACHINE_CODES.identity_exists, `There is already an identity in ${dir}.`);

    await ignoreInGit(dir); // before the key exists
    const aside = new ReplacedFiles(dir);
    const made = await backend.create(context);
    const { signer, identity } = await place(
      made,
      { backend, context, store, shared, before, aside, assertHeld },
      options,
    );
    await settle(store, identity, aside, shared !== null || isOutside);
    const trust = { owners: [signer.publicKey], list: identity.deviceId, signer };
    if (shared === null && !isOutside) await openTrust(store, trust, null).read(); // records the revision as seen
    const published = shared !== null && !isOutside;
    const { hosts = [] } = options;
    return { ...identity, movedTo: aside.movedTo, hosts, published, wasThere: false };
  });
}

/** @throws TypeError for a wrong option */
function agentOptions({ backend, agentKey, agentSocket }: CreateIdentityOptions) {
  for (const [name, value] of Object.entries({ agentKey, agentSocket })) {
    if (value === undefined) continue;
    if (backend !== 'ssh-agent') throw new TypeError(`${name} is only for the backend "ssh-agent".`);
    if (typeof value !== 'string' || value === '') throw new TypeError(`${name} is text.`);
  }
  if (agentSocket === undefined) return { agentKey };
  assertPath('agentSocket', agentSocket);
  return { agentKey, agentSocket: resolve(agentSocket) };
}

/**
 * Checks that a key of an agent is not chosen a second time: that would be the same device, and its old list would still be valid.
 *
 * @throws AmeshError `key_not_chosen`
 */
export async function assertOtherKey(store: FileStore, publicKey: Uint8Array): Promise<void> {
  const own = Buffer.from(publicKey).toString('base64url');
  const identity = await readIdentity(store).catch(() => null); // a broken identity has no key
  if (identity?.publicKey === own)
    throw new AmeshError(KEY_CODES.key_not_chosen, `The identity in ${store.dir} already has this key.`, {
      fix: 'A new identity needs another key. To keep this one and empty its list',
      command: ['amesh', 'trust', 'reset'],
    });
  const list = await store.read(ALLOW_LIST_KEY).catch(() => null);
  if (claimedOwner(list) === own)
    throw new AmeshError(
      KEY_CODES.key_not_chosen,
      `The allow list in ${store.dir} was sealed with this key, and would stay in use.`,
      {
        fix: 'Restore the identity.json next to it from a backup. To begin with an empty list, move the folder away.',
      },
    );
}

interface Placing extends Omit<Replacing, 'signer' | 'identity' | 'hosts'> {
  readonly backend: KeyBackend;
  readonly context: Parameters<KeyBackend['create']>[0];
}

/** Makes an identity with a new key. If that fails, the key is removed, since no file would name it. */
async function place(
  made: Awaited<ReturnType<KeyBackend['create']>>,
  { backend, context, ...placing }: Placing,
  options: CreateIdentityOptions,
): Promise<{ readonly signer: Signer; readonly identity: DeviceIdentity }> {
  const { store, aside, assertHeld } = placing;
  const { hosts = [] } = options;
  let staged: string | undefined;
  try {
    await assertOtherKey(store, made.publicKey);
    const signer = await backend.open(made.ref, context);
    assertHeld();
    const identity = await toIdentity(made, backend, options);
    staged = stagedKey(identity.deviceId);
    await replaceIdentity({ ...placing, signer, identity, hosts });
    return { signer, identity };
  } catch (error) {
    if (!isAmeshError(error) || error.code !== 'store_unsynced') {
      await aside.forget();
      if (staged !== undefined) await rm(join(store.dir, staged), { force: true }).catch(() => {});
      await backend.remove(made.ref, context).catch(() => {});
    }
    throw error;
  }
}

async function toIdentity(
  { ref, publicKey }: Awaited<ReturnType<KeyBackend['create']>>,
  backend: KeyBackend,
  { friendlyName }: CreateIdentityOptions,
): Promise<DeviceIdentity> {
  return {
    deviceId: await deviceIdOf(publicKey, cryptoProvider),
    publicKey: Buffer.from(publicKey).toString('base64url'),
    friendlyName: cleanName(friendlyName),
    createdAt: Math.floor(Date.now() / 1000),
    key: { backend: backend.id, ref },
  };
}

/** @throws TypeError for a public key that is not a point on the curve, or that comes with a backend */
async function backendFor({ backend, publicKey }: CreateIdentityOptions): Promise<KeyBackend> {
  if (publicKey === undefined) return findBackend(backend ?? 'encrypted-file');
  if (backend !== undefined)
    throw new TypeError('publicKey is for a key outside amesh, so it has no key backend.');
  await cryptoProvider.importPublicKey(publicKey);
  return external;
}

interface Replacing {
  readonly store: FileStore;
  readonly shared: DocumentStore | null;
  readonly signer: Signer;
  readonly identity: DeviceIdentity;
  readonly hosts: readonly string[];
  /** The bytes of the existing identity; null if there is none. */
  readonly before: Uint8Array | null;
  readonly aside: ReplacedFiles;
  readonly assertHeld: () => void;
}

/**
 * Writes an identity and its list. All new files and copies of all old ones are on disk before identity.json changes,
 * which is the one step that switches to the new list.
 */
async function replaceIdentity(replacing: Replacing): Promise<void> {
  const { store, shared, signer, identity, hosts, before, aside, assertHeld } = replacing;
  // A store may hang until somebody presses Ctrl+C, and the existing identity must survive that.
  const key = shared === null ? stagedKey(identity.deviceId) : sharedKey(identity.deviceId);
  const trust = new ListStore(shared ?? store, signer, identity.deviceId, { key, seen: NOWHERE });
  if (identity.key.backend === external.id) await planFirstList(store, identity, hosts);
  else await trust.create((draft) => draft.change({ hosts }));
  await aside.keep([IDENTITY_KEY, ALLOW_LIST_KEY, SEEN_KEY, ROTATION_KEY]);
  await aside.keepFolder(PAGES_FOLDER);
  assertHeld();
  await aside.clear(IDENTITY_KEY);
  if (!(await writeIdentity(store, before, identity))) throw new AmeshError(MACHINE_CODES.identity_exists);
}

/** Finishes the replacement of an identity. If this is interrupted, opening the identity places the new list. */
async function settle(
  store: FileStore,
  identity: DeviceIdentity,
  aside: ReplacedFiles,
  isElsewhere: boolean,
): Promise<void> {
  const { dir } = store;
  await aside.clear(ALLOW_LIST_KEY);
  if (isElsewhere)
    await rm(join(dir, ALLOW_LIST_KEY), { force: true }); // the previous identity's list
  else await placeStagedList(store, identity);
  // That file is about keys of the previous identity.
  await aside.clear(ROTATION_KEY);
  await rm(join(dir, ROTATION_KEY), { force: true });
  // A damaged record says nothing about the old list, and no revision of the new list was seen yet.
  const isDamaged = await new SeenRevisions(store).read(identity.deviceId).then(
    () => false,
    () => true,
  );
  if (isDamaged) {
    await aside.clear(SEEN_KEY);
    await rm(join(dir, SEEN_KEY), { force: true });
  }
  for (const name of await readdir(dir)) {
    if (isLastSeen(name)) await aside.clear(name);
    // Files of the replaced identity, and of identities that were never completed.
    if (isLastSeen(name) || isStaged(name)) await rm(join(dir, name), { force: true });
  }
  await rm(join(dir, PAGES_FOLDER), { recursive: true, force: true });
}

/** Moves the list of a folder into a store that has none. Returns null if the folder has no list, or the store has another one. */
async function publish(folder: FileStore, env: Env, shared: DocumentStore) {
  const { identity, trust } = await openDevice(folder.dir, env, null);
  const key = sharedKey(identity.deviceId);
  const there = await shared.read(key);
  if ((await folder.read(ALLOW_LIST_KEY)) === null) return null;
  let opened = await trust.open();
  // If the store has the same head, an earlier run was interrupted here, and this one continues.
  if (there !== null && Buffer.compare(there, opened.head) !== 0) return null;
  if (there === null && !(await put(shared, key, null, opened))) return null;
  const aside = new ReplacedFiles(folder.dir);
  await aside.keep([ALLOW_LIST_KEY]);
  await aside.keepFolder(PAGES_FOLDER);
  // The folder must not keep the list: without AMESH_STORE_URL, a revocation would change only that copy, and reach no instance.
  while (!(await folder.remove(ALLOW_LIST_KEY, opened.head))) {
    const last = await trust.open(); // another process has just changed it
    if (!(await put(shared, key, opened.head, last))) throw new AmeshError(STORAGE_CODES.store_conflict);
    opened = last;
  }
  await rm(join(folder.dir, PAGES_FOLDER), { recursive: true, force: true });
  return { ...identity, movedTo: aside.movedTo, hosts: opened.list.hosts };
}

function put(
  store: DocumentStore,
  key: string,
  expected: Uint8Array | null,
  { head, pages }: OpenedList,
): Promise<boolean> {
  return store.swap(key, expected, head, { write: pages, remove: [] });
}
