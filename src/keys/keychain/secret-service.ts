import { statSync } from 'node:fs';
import { join } from 'node:path';
import { AmeshError, type AmeshErrorOptions } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import { BusError, withSessionBus } from './session-bus';

const SERVICE = { destination: 'org.freedesktop.secrets', path: '/org/freedesktop/secrets' };

const INSTEAD =
  'On a server without a desktop, keep the key in a TPM (--backend tpm2), or in a file with a passphrase from systemd (docs/keys.md).';

/** A command that starts the service of GNOME, creates its keyring `login` if there is none, and unlocks it. */
const UNLOCK = `read -rs PASSWORD && printf %s "$PASSWORD" | gnome-keyring-daemon --replace --unlock`;

/**
 * Makes sure that the Secret Service can be used without asking the user, since nobody may be there to answer.
 *
 * @throws AmeshError `key_backend_unavailable` without a session bus, a service on it, or a default keyring;
 *   `keychain_locked`
 */
export async function assertUnlocked(): Promise<void> {
  const address = busAddress();
  try {
    await withSessionBus(address, async (call) => {
      const path = await call({
        ...SERVICE,
        method: 'org.freedesktop.Secret.Service.ReadAlias',
        args: ['default'],
      });
      if (typeof path !== 'string' || path === '/') throw noKeyring();
      const isLocked = await call({
        destination: SERVICE.destination,
        path,
        method: 'org.freedesktop.DBus.Properties.Get',
        args: ['org.freedesktop.Secret.Collection', 'Locked'],
      });
      if (isLocked !== false)
        throw new AmeshError(KEY_CODES.keychain_locked, undefined, {
          fix: `Log in to the desktop of this user. Without a desktop: ${UNLOCK}`,
        });
    });
  } catch (error) {
    throw explainBus(error, address);
  }
}

/**
 * The address that the library for the keychain uses: it always reads the environment of the process.
 *
 * @throws AmeshError `key_backend_unavailable`
 */
function busAddress(): string {
  const { DBUS_SESSION_BUS_ADDRESS: address, XDG_RUNTIME_DIR } = process.env;
  if (address) return address;
  const socket = XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'bus') : undefined;
  throw unavailable('There is no session bus: DBUS_SESSION_BUS_ADDRESS is not set.', {
    fix:
      socket !== undefined && statSync(socket, { throwIfNoEntry: false })?.isSocket()
        ? `This user has one. Set DBUS_SESSION_BUS_ADDRESS=unix:path=${socket}`
        : `Run this in the desktop session of this user, or start a bus with dbus-run-session. ${INSTEAD}`,
  });
}

function explainBus(error: unknown, address: string): Error {
  if (error instanceof AmeshError) return error;
  const code = error instanceof BusError ? error.code : (error as NodeJS.ErrnoException).code;
  if (code === 'org.freedesktop.DBus.Error.ServiceUnknown')
    return unavailable('No program on the session bus keeps secrets: there is no org.freedesktop.secrets.', {
      fix: 'Install GNOME Keyring, or let KWallet or KeePassXC serve it. On Debian',
      command: ['sudo', 'apt-get', 'install', 'gnome-keyring'],
      cause: error,
    });
  if (error instanceof BusError)
    return unavailable(`The keychain could not be asked: ${error.message}`, {
      fix: `Restart the program that keeps secrets, such as gnome-keyring-daemon. ${INSTEAD}`,
      cause: error,
    });
  return unavailable(`The session bus at ${address} cannot be used: ${code ?? (error as Error).message}`, {
    fix: `Run this in a session of this user. ${INSTEAD}`,
    cause: error,
  });
}

function noKeyring(): AmeshError {
  return unavailable('The Secret Service has no default keyring: there is no collection "login".', {
    fix: `Log in to the desktop of this user with a password, which creates it. Without a desktop: ${UNLOCK}`,
  });
}

function unavailable(detail: string, options: AmeshErrorOptions): AmeshError {
  return new AmeshError(
    KEY_CODES.key_backend_unavailable,
    /[.]$/.test(detail) ? detail : `${detail}.`,
    options,
  );
}
