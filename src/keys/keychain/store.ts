import { equalBytes } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import { secretBytes, wipe } from '../secrets/secret-bytes';
import { type Keyring, loadKeyring } from './load';
import { assertUnlocked } from './secret-service';

const SERVICE = 'amesh';

/**
 * Opens the keychain of this user: the Secret Service on Linux, otherwise the keychain of the system.
 *
 * @throws AmeshError `key_backend_unavailable`; `keychain_locked`, since nobody is asked to unlock it
 */
export async function openKeychain(): Promise<Keychain> {
  const keyring = await loadKeyring();
  if (process.platform === 'linux' || process.platform === 'freebsd') await assertUnlocked();
  return new Keychain(keyring);
}

/** Secrets in the keychain of this user, each under a name. */
export class Keychain {
  readonly #keyring: Keyring;

  /** @param keyring the loaded library */
  constructor(keyring: Keyring) {
    this.#keyring = keyring;
  }

  /** @returns null if there is none under this name */
  async read(name: string): Promise<Uint8Array | null> {
    const numbers = await this.#run(name, (entry) => entry.getSecret());
    if (numbers === null) return null;
    const secret = secretBytes(numbers.length);
    secret.set(numbers);
    numbers.fill(0);
    return secret;
  }

  /** @throws AmeshError `key_backend_unavailable` if the keychain does not give back what was written */
  async write(name: string, secret: Uint8Array): Promise<void> {
    await this.#run(name, (entry) => entry.setSecret(secret));
    const stored = (await this.read(name)) ?? secretBytes(0);
    const isSame = equalBytes(stored, secret);
    wipe(stored);
    if (isSame) return;
    await this.remove(name).catch(() => {});
    throw new AmeshError(
      KEY_CODES.key_backend_unavailable,
      'The keychain did not return the value that amesh had stored in it.',
      { fix: 'Use another program for the keychain, or', command: ['amesh', 'init', '--name', 'NAME'] },
    );
  }

  /** It is not an error if there is none under this name. */
  async remove(name: string): Promise<void> {
    await this.#run(name, (entry) => entry.deletePassword());
  }

  async #run<T>(name: string, use: (entry: InstanceType<Keyring['AsyncEntry']>) => Promise<T>): Promise<T> {
    try {
      return await use(new this.#keyring.AsyncEntry(SERVICE, name, { linux: { store: 'secret-service' } }));
    } catch (cause) {
      throw explain(cause);
    }
  }
}

/** What systems say if nobody can answer a question: macOS over SSH, and a keychain that has just been locked. */
const LOCKED = /interaction is not allowed|-25308|locked|dismissed/i;
/** Windows has no keychain for a service, or for a user who logged in over the network. */
const NO_SESSION = /logon session|1312/i;

function explain(cause: unknown): AmeshError {
  const { message } = cause as Error;
  if (LOCKED.test(message)) return new AmeshError(KEY_CODES.keychain_locked, undefined, { cause });
  if (NO_SESSION.test(message))
    return new AmeshError(KEY_CODES.key_backend_unavailable, 'This session of the user has no keychain.', {
      fix: 'Windows gives one to a user who is logged in at the machine, and none to a service or over the network.',
      cause,
    });
  return new AmeshError(
    KEY_CODES.key_backend_unavailable,
    `The keychain cannot be used: ${message.replace(/[.\s]*$/, '')}.`,
    { fix: 'Check the keychain of this user, or', command: ['amesh', 'init', '--name', 'NAME'], cause },
  );
}
