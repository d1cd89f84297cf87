import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../core/allow-list';
import type { Signer } from '../core/crypto/provider';
import { AmeshError, NoIdentityError } from '../core/errors';
import { findBackend } from '../keys/backends';
import { type Device, openDevice, openTrust } from './device';
import type { AllowListDocument } from './document';
import type { DocumentStore } from './document-store';
import { FileStore } from './file-store';
import { assertFolder } from './folder-safety';
import type { Env } from './home';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity, writeIdentity } from './identity';
import { LAST_SEEN_KEY } from './last-seen';
import { cleanName } from './names';
import { makePrivateFolder, writePrivateFile } from './private-file';
import { SEEN_KEY, SeenRevisions } from './seen';
import { sharedKey, sharedStoreOf } from './shared-store';
import { ALLOW_LIST_KEY, type OpenedList, TrustStore } from './trust-store';

/** Remembers nothing: of a list that is only just made, whoever reads it first will. */
const NOWHERE: DocumentStore = { read: async () => null, swap: async () => true };

/** The lock under which identities are made and lists are started anew. */
const SETUP = 'setup';

/** What a new identity is like. */
export interface CreateIdentityOptions {
  /** How others will call this machine; cleaned, at most 64 code points. */
  readonly friendlyName: string;
  /** The key backend; default `encrypted-file`. */
  readonly backend?: string | undefined;
  /** The authorities to which it answers, in normal form. */
  readonly hosts?: readonly string[] | undefined;
  /** Replaces an identity that is there. Its files are moved aside, and every pairing is lost. */
  readonly force?: boolean | undefined;
}

/** What was moved out of the way, and where to. */
export interface Aside {
  /** An absolute path, or null where there was nothing to move. */
  readonly movedTo: string | null;
}

/** Where a new list has gone. */
export interface Published {
  /** Whether the list lies in the store of AMESH_STORE_URL now. */
  readonly published: boolean;
  /** Whether the identity was there before, and stays as it was. */
  readonly wasThere: boolean;
  /** The authorities to which it answers. */
  readonly hosts: readonly string[];
}

/**
 * Makes this machine's key, identity and empty sealed allow list. identity.json is written last: until then there is
 * no identity, and whoever is interrupted can begin again. Where there is one, and the store of AMESH_STORE_URL has no
 * list of it, the list of the folder is put there, and moved aside here.
 *
 * @param shared where the list is to lie; default the store of AMESH_STORE_URL, or the folder
 * @throws AmeshError `identity_exists`, `key_backend_unavailable`, `folder_unsafe`
 */
export async function createIdentity(
  dir: string,
  env: Env,
  options: CreateIdentityOptions,
  shared: DocumentStore | null = sharedStoreOf(env),
): Promise<DeviceIdentity & Aside & Published> {
  const backend = findBackend(options.backend ?? 'encrypted-file');
  const context = { dir, env };
  const probe = await backend.probe(context);
  if (!probe.available) throw new AmeshError('key_backend_unavailable', probe.reason);
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);

  return store.locked(SETUP, async (assertHeld) => {
    assertFolder(dir, env, 'read'); // in /tmp somebody else may have made it just before us
    const before = await store.read(IDENTITY_KEY);
    if (before !== null && !options.force && shared !== null) {
      const published = await publish(store, env, shared);
      if (published !== null) return { ...published, published: true, wasThere: true };
    }
    if (before !== null && !options.force)
      throw new AmeshError('identity_exists', `There is an identity in ${dir} already.`);

    const { ref, publicKey } = await backend.create(context);
    const signer = await backend.open(ref, context);
    assertHeld();
    const identity: DeviceIdentity = {
      deviceId: await deviceIdOf(publicKey, cryptoProvider),
      publicKey: Buffer.from(publicKey).toString('base64url'),
      friendlyName: cleanName(options.friendlyName),
      createdAt: Math.floor(Date.now() / 1000),
      key: { backend: backend.id, ref },
    };
    const { hosts = [] } = options;
    if (shared !== null) {
      // It may fail, or be silent until somebody presses Ctrl+C: then the identity that is here has to be here still.
      const trust = new TrustStore(shared, signer, identity.deviceId, {
        key: sharedKey(identity.deviceId),
        seen: NOWHERE,
      });
      await trust.create({ hosts }).catch(async (error) => {
        await backend.remove(ref, context);
        throw error;
      });
      assertHeld();
    }
    // The identity goes first: what is left without it is no identity, and not a broken one.
    const movedTo = await moveAside(dir, [IDENTITY_KEY, ALLOW_LIST_KEY, SEEN_KEY, LAST_SEEN_KEY]);
    if (shared === null) await openTrust(store, signer, identity.deviceId, null).create({ hosts });
    assertHeld();
    if (!(await writeIdentity(store, null, identity))) throw new AmeshError('identity_exists');
    return { ...identity, movedTo, hosts, published: shared !== null, wasThere: false };
  });
}

/** What becomes of a list that is reset. */
export interface ResetOptions {
  /** Goes on from the list that lies there, which is an older one than was seen; default: from an empty one. */
  readonly keep?: boolean | undefined;
}

/**
 * Moves an allow list aside that is not as it should be, and starts another in its place: an empty one, after which every
 * pairing has to be made again, or with `keep` one that holds what an older one held, out of a backup for example.
 *
 * @throws NoIdentityError; AmeshError of the key backend; with `keep` as {@link readOlderList}
 */
export async function resetTrust(
  dir: string,
  env: Env,
  { keep = false }: ResetOptions = {},
): Promise<AllowListDocument & Aside> {
  assertFolder(dir, env, 'read');
  const store = new FileStore(dir);
  return store.locked(SETUP, async (assertHeld) => {
    const identity = await readIdentity(store);
    if (identity === null) throw new NoIdentityError(dir);
    const signer = await findBackend(identity.key.backend).open(identity.key.ref, { dir, env });
    const list = identity.deviceId;
    const shared = sharedStoreOf(env);
    const older = keep ? await openAnyRevision(store, signer, list, shared) : null;
    const seen = await new SeenRevisions(store).read(list).catch(() => null);
    const damaged = seen === null ? [SEEN_KEY] : [];
    if (shared === null) damaged.push(ALLOW_LIST_KEY); // one that lies elsewhere is replaced there
    const broken = shared === null ? null : (older?.bytes ?? (await shared.read(sharedKey(list))));
    assertHeld();
    const movedTo = await moveAside(dir, damaged, broken);
    // A running server may remember a newer revision than these files do. No list changes every second of its life,
    // so the time is beyond whatever that is.
    const after = Math.max(seen?.revision ?? 0, Math.floor(Date.now() / 1000));
    const trust = openTrust(store, signer, list, shared);
    return { ...(await trust.create(older?.document ?? {}, after, broken)), movedTo };
  });
}

/**
 * The allow list of a device, however old it is.
 *
 * @throws AllowListIntegrityError where it is absent, or not what the device has sealed
 */
export async function readOlderList(device: Device, env: Env): Promise<AllowListDocument> {
  const { identity, signer, store } = device;
  return (await openAnyRevision(store, signer, identity.deviceId, sharedStoreOf(env))).document;
}

async function openAnyRevision(
  folder: DocumentStore,
  { publicKey }: Signer,
  list: string,
  shared: DocumentStore | null,
): Promise<OpenedList> {
  const key = shared === null ? undefined : sharedKey(list);
  const trust = new TrustStore(shared ?? folder, { publicKey }, list, { key, seen: NOWHERE });
  return (await trust.readChange(null)) as OpenedList; // since nothing is known of it
}

/** Puts the list of a folder into a store that has none; null where it has one, or the folder has not. */
async function publish(folder: FileStore, env: Env, shared: DocumentStore) {
  const { identity, trust } = await openDevice(folder.dir, env, null);
  const key = sharedKey(identity.deviceId);
  if ((await shared.read(key)) !== null || (await folder.read(ALLOW_LIST_KEY)) === null) return null;
  const opened = await trust.readChange(null); // as it was sealed, and not older than seen
  if (opened === null || !(await shared.swap(key, null, opened.bytes))) return null;
  // Whoever then changed it here, without AMESH_STORE_URL, would have revoked somebody in no instance.
  const movedTo = await moveAside(folder.dir, [ALLOW_LIST_KEY]);
  const last = movedTo === null ? null : await new FileStore(movedTo).read(ALLOW_LIST_KEY);
  if (last !== null) await shared.swap(key, opened.bytes, last); // somebody was at it until just now
  return { ...identity, movedTo, hosts: opened.document.hosts };
}

/** @param more the bytes of a list that lies elsewhere, to be kept beside them */
async function moveAside(
  dir: string,
  names: readonly string[],
  more: Uint8Array | null = null,
): Promise<string | null> {
  const aside = join(dir, 'replaced', new Date().toISOString().replace(/[:.]/g, '-'));
  const there = names.filter((name) => existsSync(join(dir, name)));
  for (const name of there) {
    await makePrivateFolder(aside);
    await rename(join(dir, name), join(aside, name));
  }
  if (more !== null) {
    await makePrivateFolder(aside);
    await writePrivateFile(join(aside, 'shared_allow_list.json'), more, 0o600);
  }
  return there.length === 0 && more === null ? null : aside;
}
