import { readFileSync, statSync } from 'node:fs';
import { AmeshError, type AmeshErrorOptions, isAmeshError } from '../../core/errors/amesh-error';
import { ownName } from '../../storage/files/accounts';
import { KEY_CODES } from '../errors/codes';
import { CC, readLockout } from './commands';
import { NoDeviceError, RESOURCE_MANAGER, type TpmAddress } from './connection';
import { fingerprintOf, isWrongPassword } from './key';
import { AGAIN, RC, ResponseError } from './response-error';
import { SilentTpmError, type Tpm } from './tpm';

/** What is known about a key that cannot be used. */
export interface KeyFacts {
  /** The fingerprint of the TPM that made it; undefined if that is not known. */
  readonly fingerprint?: string | undefined;
  readonly isWithoutPin: boolean;
}

/** A command whose argument PRIMARY is the context of a storage primary key. */
const STORE_PARENT = [
  'tpm2_evictcontrol',
  ...['--hierarchy', 'o', '--object-context', 'PRIMARY', '0x81000001'],
];

/** TPM_RC_HANDLE for the first handle. In a command that loads a key, that is its parent. */
const PARENT_ABSENT = 0x18b;

const FULL: ReadonlySet<number> = new Set([RC.objectMemory, RC.sessionMemory, RC.memory]);

/**
 * Turns a failure of a TPM into an error that says what a person can do about it.
 *
 * @param key undefined if no key was used
 */
export async function explain(error: unknown, tpm: Tpm, key?: KeyFacts): Promise<AmeshError> {
  if (isAmeshError(error)) return error;
  if (error instanceof SilentTpmError)
    return unavailable(error.message, { fix: 'Check the TPM; usually the machine has to be restarted.' });
  if (error instanceof ResponseError) return explainResponse(error, tpm, key);
  if (error instanceof RangeError)
    return unavailable(error.message, { fix: 'Update its firmware.', cause: error });
  return explainConnection(error as NodeJS.ErrnoException, tpm.address);
}

async function explainResponse(error: ResponseError, tpm: Tpm, key?: KeyFacts): Promise<AmeshError> {
  if (error.code === RC.lockout) return locked(tpm);
  if (error.code === RC.initialize)
    return unavailable('The TPM has been reset and not started since.', { fix: 'Restart the machine.' });
  if (error.code === RC.failure)
    return unavailable('The TPM has failed its own test, and refuses everything.', {
      fix: 'Restart the machine.',
    });
  if (FULL.has(error.code))
    return unavailable('The TPM is full: other programs have left their keys in it.', {
      fix: `Use the kernel's resource manager, AMESH_TPM=device:${RESOURCE_MANAGER}, or remove them`,
      command: ['tpm2_flushcontext', '--transient-object'],
    });
  if (isWrongPassword(error)) {
    if (error.command === CC.sign)
      return new AmeshError(KEY_CODES[key?.isWithoutPin === false ? 'pin_wrong' : 'key_lost'], undefined, {
        cause: error,
      });
    return unavailable(
      'The owner hierarchy of the TPM has a password, and there is no storage root key at 0x81000001.',
      { fix: 'Store one, with the password of the owner hierarchy', command: STORE_PARENT },
    );
  }
  // Only if the TPM has refused the key itself: any other cause may be gone the next time.
  const isOfKey = error.isAboutParameter || error.raw === PARENT_ABSENT;
  if (key !== undefined && error.command === CC.load && isOfKey) return notTaken(error, tpm, key);
  if (AGAIN.has(error.code))
    return unavailable(
      `The TPM is busy: it answered several times with the code 0x${error.raw.toString(16)}.`,
      {
        fix: 'Try again in a minute. If it stays busy, restart the machine.',
        cause: error,
      },
    );
  return unavailable(error.message, {
    fix: 'Try again. If that does not help, restart the machine.',
    cause: error,
  });
}

async function locked(tpm: Tpm): Promise<AmeshError> {
  const { forgetsAfterSeconds } = await tpm.run(readLockout).catch(() => ({ forgetsAfterSeconds: 0 }));
  const wait =
    forgetsAfterSeconds === 0
      ? 'Its administrator has to unlock it: tpm2_dictionarylockout --clear-lockout.'
      : `It takes another attempt every ${durationText(forgetsAfterSeconds)}. Set the right AMESH_PIN first.`;
  return new AmeshError(KEY_CODES.key_locked, undefined, { fix: wait });
}

/**
 * The error if the TPM has refused the key: it is another TPM, or its owner hierarchy was cleared, or the parent of the key is
 * gone.
 */
async function notTaken(error: ResponseError, tpm: Tpm, { fingerprint }: KeyFacts): Promise<AmeshError> {
  const now = await tpm.run(fingerprintOf).catch(() => undefined);
  const options = { cause: error };
  const mayBeThisTpm = fingerprint === undefined || now === undefined || now === fingerprint;
  if (mayBeThisTpm && error.raw === PARENT_ABSENT)
    return unavailable('The TPM has no storage root key at 0x81000001, under which it made the key.', {
      fix: 'If the TPM was cleared, the key is lost (docs/keys.md). Otherwise store that key again, with the password of the owner hierarchy',
      command: STORE_PARENT,
      cause: error,
    });
  if (fingerprint === undefined || now === undefined)
    return new AmeshError(
      KEY_CODES.key_lost,
      'The TPM does not know the key: it is another TPM than the one that made it, or it was cleared.',
      options,
    );
  if (now === fingerprint)
    return new AmeshError(
      KEY_CODES.key_lost,
      'The TPM was cleared, which destroys all keys that it had made. The key is lost.',
      options,
    );
  return new AmeshError(
    KEY_CODES.key_lost,
    'The key belongs to another TPM: this folder was copied, or the virtual machine was moved without its TPM.',
    {
      ...options,
      fix: 'Use the folder on the machine that made it. If that TPM is gone and you made a second key (amesh init --next), take the list over: see docs/keys.md. Otherwise create a new identity here, and pair again',
      command: KEY_CODES.key_lost.command,
    },
  );
}

function explainConnection(error: NodeJS.ErrnoException, address: TpmAddress): AmeshError {
  const { code = 'unknown error' } = error;
  if (address.kind === 'tcp')
    return unavailable(`No TPM responds at tcp:${address.host}:${address.port} (${code}).`, {
      fix: 'Start it, or correct AMESH_TPM.',
      cause: error,
    });
  const { path } = address;
  if (error instanceof NoDeviceError)
    return unavailable(error.message, {
      fix: `Correct AMESH_TPM: device:${RESOURCE_MANAGER}, or tcp:HOST:PORT for a software TPM.`,
      cause: error,
    });
  if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO')
    return unavailable(`This machine has no TPM 2.0 at ${path}.`, {
      fix: 'Enable it in the firmware, or give the virtual machine one. Without a TPM',
      command: ['amesh', 'init', '--name', 'NAME', '--backend', 'encrypted-file'],
      cause: error,
    });
  if (code === 'EACCES' || code === 'EPERM') return forbidden(path, error);
  if (code === 'EBUSY')
    return unavailable(`Another program uses ${path}.`, {
      fix: `Use the kernel's resource manager, which programs can share: AMESH_TPM=device:${RESOURCE_MANAGER}.`,
      cause: error,
    });
  return unavailable(`${path} cannot be used (${code}).`, { fix: 'Check the TPM.', cause: error });
}

function forbidden(path: string, cause: Error): AmeshError {
  const group = groupOf(path);
  const user = ownName();
  const uid = process.geteuid?.();
  if (group === null)
    return unavailable(`This user may not use ${path}.`, {
      fix: `Let ${user ?? `the user with uid ${uid}`} read and write it.`,
      cause,
    });
  const detail = `This user may not use ${path}, which is for the group ${group.name}.`;
  // Without a name there is no account to change, and no login.
  if (user === null)
    return unavailable(detail, {
      fix: `This user (uid ${uid}) has no name: start the program with that group, a container with --group-add ${group.gid}.`,
      cause,
    });
  return unavailable(detail, {
    fix: 'Log in again after',
    command: ['sudo', 'usermod', '--append', '--groups', group.name, user],
    cause,
  });
}

/** The group that may use a file; null if no group may, or it has no name. */
function groupOf(path: string): { readonly name: string; readonly gid: number } | null {
  try {
    const { gid, mode } = statSync(path);
    if ((mode & 0o060) !== 0o060) return null;
    const lines = readFileSync('/etc/group', 'utf8').split('\n');
    const name = lines.find((line) => line.split(':')[2] === String(gid))?.split(':')[0];
    return name === undefined ? null : { name, gid };
  } catch {
    return null;
  }
}

function unavailable(detail: string, options: AmeshErrorOptions): AmeshError {
  return new AmeshError(KEY_CODES.key_backend_unavailable, detail, options);
}

function durationText(seconds: number): string {
  return seconds >= 120 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} s`;
}
