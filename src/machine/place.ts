import { assertPassphraseVariables } from '../keys/passphrase';
import { type Env, homeDir } from '../process/home';
import { createLog, type Log } from '../process/log';
import type { DocumentStore } from '../storage/document-store';
import { FileStore } from '../storage/files/file-store';
import { toDocumentStore } from '../storage/unstorage/document-store';
import type { Device } from '../trust/device';
import { sharedStoreOf } from '../trust/shared-store';
import { tellOfFolder, withLocalFix } from './notices';
import type { AmeshSettings } from './options';
import { openDevice } from './setup/open-device';

/** Where an instance has its identity and its list, and where it tells people of them. */
export interface Place {
  readonly dir: string;
  readonly env: Env;
  /** The files of `dir`. */
  readonly store: FileStore;
  /** Where the list lies for several instances; null where it lies in `dir`. */
  readonly shared: DocumentStore | null;
  readonly log: Log;
  /** Tells of what is wrong with the folder, once. */
  readonly tellOfFolder: () => void;
}

/**
 * @param isReader whether the list is sealed by the key of another machine (AMESH_OWNER_KEY)
 * @throws TypeError for a wrong variable; AmeshError `allow_list_unavailable` for a Redis without ioredis
 */
export function openPlace(settings: AmeshSettings, env: Env, isReader: boolean): Place {
  const { dir: chosen, storage, sharedOnly } = settings;
  const dir = homeDir(chosen, env);
  const shared = storage === undefined ? sharedStoreOf(env) : toDocumentStore(storage);
  // Whoever gives one believes that the list is shared, and it would be that of this folder alone.
  if (shared === null && sharedOnly.length > 0)
    throw new TypeError(`${sharedOnly[0]} needs a shared allow list: set AMESH_STORE_URL, or give storage.`);
  assertPassphraseVariables(env); // a wrong one is a TypeError here, and not at the first request
  const isFromVariable = chosen === undefined && Boolean(env.AUTH_MESH_DIR);
  const folder = `${isFromVariable ? 'AUTH_MESH_DIR' : 'folder'} ${dir}`;
  // In the folder of a reader nobody can pair anything.
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
    log,
    tellOfFolder: () => {
      if (!isTold) tellOfFolder(dir, env, isReader, log);
      isTold = true;
    },
  };
}

/** Opens the device of a place once, and again after a failure: `amesh init` may come later. */
export function deviceOf({ dir, env, shared, tellOfFolder }: Place): () => Promise<Device> {
  let opening: Promise<Device> | undefined;
  return () => {
    if (opening === undefined) tellOfFolder();
    opening ??= openDevice(dir, env, shared).catch((error) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
}
