import { AmeshError } from '../../core/errors/amesh-error';
import { requireBeside } from '../../process/require-beside';
import { KEY_CODES } from '../errors/codes';

/** The part of `@napi-rs/keyring` that amesh uses. */
export interface Keyring {
  /** An entry of the keychain. On Linux the constructor connects to the Secret Service. */
  readonly AsyncEntry: new (
    service: string,
    username: string,
    options: { readonly linux: { readonly store: 'secret-service' } },
  ) => {
    // Bytes, unlike `getPassword()`: a string cannot be overwritten.
    getSecret(): Promise<number[] | Uint8Array | null>;
    setSecret(secret: Uint8Array): Promise<void>;
    deletePassword(): Promise<boolean>;
  };
}

const PACKAGE = '@napi-rs/keyring';

let loaded: Keyring | undefined;

/**
 * Loads `@napi-rs/keyring` once: a process that gave up root may no longer be able to read its own packages.
 *
 * @throws AmeshError `key_backend_unavailable` if it is not installed, is of another version, or does not run here
 */
export async function loadKeyring(): Promise<Keyring> {
  if (loaded !== undefined) return loaded;
  const version = installedVersion();
  if (version === null) throw unusable(`The package ${PACKAGE} is not installed.`);
  // Without a Secret Service, versions before 2.1 used the keyring of the kernel, which a restart of the machine empties.
  if (!/^2\.(?!0\.)/.test(version))
    throw unusable(`${PACKAGE} ${version} is installed, but amesh needs 2.1 or a later 2.`);
  let module: Keyring & { readonly default?: Keyring };
  try {
    module = requireBeside()(PACKAGE);
  } catch (cause) {
    throw new AmeshError(KEY_CODES.key_backend_unavailable, `${PACKAGE} does not run on this machine.`, {
      fix: 'It has files for Linux, macOS, Windows and FreeBSD. If this is one of them, install it again, on this machine',
      command: ['npm', 'install', `${PACKAGE}@2`],
      cause,
    });
  }
  loaded = module.default ?? module;
  return loaded;
}

/** The installed version; null if there is none. */
function installedVersion(): string | null {
  try {
    return String(requireBeside()(`${PACKAGE}/package.json`).version);
  } catch {
    return null;
  }
}

function unusable(detail: string): AmeshError {
  return new AmeshError(KEY_CODES.key_backend_unavailable, detail, {
    fix: 'Install it next to amesh (with --global if amesh is installed so)',
    command: ['npm', 'install', `${PACKAGE}@2`],
  });
}
