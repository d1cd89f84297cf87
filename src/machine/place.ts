import type { Signer } from '../core/crypto/provider';
import { assertPassphraseVariables } from '../keys/passphrase';
import { type Env, homeDir } from '../process/home';
import { createLog, type Log } from '../process/log';
import type { DocumentStore } from '../storage/document-store';
import { FileStore } from '../storage/files/file-store';
import { toDocumentStore } from '../storage/unstorage/document-store';
import { sharedStoreOf } from '../trust/shared-store';
import { tellOfFolder, withLocalFix } from './notices';
import type { AmeshSettings } from './options';
import { LiveDevice } from './rotation/live-device';
import { openDevice, openFormer, openKey, reopenTrust } from './setup/open-device';

/** Where an instance finds its identity and its list, and where it logs. */
export interface Place {
  readonly dir: string;
  readonly env: Env;
  /** The files in `dir`. */
  readonly store: FileStore;
  /** The store that holds the list for several instances; null if the list is in `dir`. */
  readonly shared: DocumentStore | null;
  /** Signs with the key of this machine, if amesh does not have that key. */
  readonly signer: Signer | undefined;
  readonly log: Log;
  /** Logs once what is wrong with the folder. */
  readonly tellOfFolder: () => void;
}

/**
 * @param who `isReader`: whether another machine's key seals the list (AMESH_OWNER_KEY)
 * @throws TypeError for a wrong variable; AmeshError `allow_list_unavailable` for a Redis URL without ioredis
 */
export function openPlace(
  settings: AmeshSettings,
  env: Env,
  { isReader }: { readonly isReader: boolean },
): Place {
  const { dir: chosen, storage, sharedOnly } = settings;
  const dir = homeDir(chosen, env);
  const shared = storage === undefined ? sharedStoreOf(env) : toDocumentStore(storage);
  // These options suggest a shared list, but there is only the list in this folder.
  if (shared === null && sharedOnly.length > 0)
    throw new TypeError(`${sharedOnly[0]} needs a shared allow list: set AMESH_STORE_URL, or give storage.`);
  assertPassphraseVariables(env); // throw now, not at the first request
  const isFromVariable = chosen === undefined && Boolean(env.AUTH_MESH_DIR);
  const folder = `${isFromVariable ? 'AUTH_MESH_DIR' : 'folder'} ${dir}`;
  // A reader cannot pair, so the advice names the folder of the owner.
  const home = isReader ? 'where the identity is' : folder;
  const isByUrl = shared !== null && storage === undefined;
  const printed = createLog(env, isByUrl ? `${home}, with the same AMESH_STORE_URL` : home);
  const log: Log = {
    ...printed,
    refusal: (refusal) => printed.refusal(withLocalFix(refusal, folder)),
  };
  let isTold = false;
  return {
    dir,
    env,
    store: new FileStore(dir),
    shared,
    signer: settings.signer,
    log,
    tellOfFolder: () => {
      if (!isTold) tellOfFolder(dir, env, isReader, log);
      isTold = true;
    },
  };
}

/** The device of a running process; its key may be rotated while the process runs. */
export function liveDevice({ dir, env, store, shared, signer, log, tellOfFolder }: Place): LiveDevice {
  return new LiveDevice({
    store,
    open: () => {
      tellOfFolder();
      return openDevice(dir, env, shared, signer);
    },
    openKey: (identity) => openKey(identity, store, env),
    openFormer: (rotation) => openFormer(store, rotation, env, shared),
    reopenTrust: (device) => reopenTrust(device, env, shared),
    tell: log.once,
  });
}
