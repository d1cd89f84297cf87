import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import { asSentence } from '../core/errors/define-codes';
import type { Refusal } from '../core/verify/refusal';
import type { Env } from '../process/home';
import type { Log } from '../process/log';
import { TRUST_CODES } from '../trust/errors/codes';
import { inspectFolder } from '../trust/folder-safety';
import { isTokenEmpty } from './setup/open-device';

// What an instance logs besides refusals. Each line appears once per process.

/** A lease ends soon, and this instance cannot renew it. */
export const CANNOT_RENEW =
  'A lease of a grant ends soon, and this instance cannot renew it: it has only AMESH_OWNER_KEY, no private key. The lease ends unless its caller also calls an instance that has the folder of the identity. See docs/provisioning.md.';

/** Logs if other users can read or write the folder, and what that means for this instance. */
export function tellOfFolder(dir: string, env: Env, isReader: boolean, log: Log): void {
  for (const { kind, message, fix } of inspectFolder(dir, env)) {
    // The owner seals the list elsewhere: the folder of a reader has only the record of the newest revision.
    if (isReader && kind === 'open') continue;
    const until =
      isReader || kind === 'open'
        ? ''
        : ' Until then this machine refuses every signed request and signs none.';
    log.once(`${message} ${asSentence(fix)}${until}`);
  }
}

export function tellNoIdentity(dir: string, env: Env, log: Log): void {
  log.once(
    `There is no identity in ${dir}${isTokenEmpty(env) ? ', and AMESH_BOOTSTRAP_TOKEN is empty' : ''}. Run: amesh init --name NAME. Until then every signed request gets 503.`,
  );
}

/** @param error why the token in the environment was not taken */
export function tellNotTaken(error: Error, isReader: boolean, log: Log): void {
  const why = `${isAmeshError(error) ? `, ${error.code}` : ''}: ${asSentence(error.message)}`;
  const until = isReader ? '' : ' Until then every signed request gets 503.';
  log.once(`AMESH_BOOTSTRAP_TOKEN was not taken${why}${until}`);
}

export function tellMemoryNonces(log: Log): void {
  log.once(
    'Using in-memory nonce store. It detects replays within one process only. If several processes serve one address, a request can be replayed to another: set REDIS_URL, see docs/production.md.',
  );
}

/** The error of a reader that has to sign a request. The usual fix, `amesh init`, would create a second target here. */
export function noKeyToCallWith(dir: string): AmeshError {
  return new AmeshError(
    TRUST_CODES.no_identity,
    `There is no private key in ${dir}. With AMESH_OWNER_KEY alone, this instance can verify requests but not sign them.`,
    { fix: 'To sign requests, give it the folder of an identity (AUTH_MESH_DIR). See docs/production.md.' },
  );
}

/** The error for a new identity in this folder: its empty list would replace the list that this instance reads. */
export function folderOfAnother(dir: string): AmeshError {
  return new AmeshError(
    TRUST_CODES.no_identity,
    `${dir} is for the allow list of another device (AMESH_OWNER_KEY), so no identity can be created in it to call with.`,
    {
      fix: 'Call with a second instance and a folder of its own, createAmesh({ dir }), or keep the list in AMESH_STORE_URL.',
    },
  );
}

/**
 * Adds the fix for a server that has files and the command line.
 *
 * @param folder the folder that it uses, in words: with another folder, the server is another device
 */
export function withLocalFix(refusal: Refusal, folder: string): Refusal {
  if (refusal.code === 'device_expired') {
    const command = ['amesh', 'allow', refusal.request.deviceId ?? 'DEVICE', '--expires', '90d'];
    const fix = `If it may still call: ${command.join(' ')}. If its lease has ended: pair it, or give it the token of a new grant: amesh grant`;
    return { ...refusal, fix, command };
  }
  if (refusal.code !== 'wrong_target') return refusal;
  return {
    ...refusal,
    fix: `${asSentence(refusal.fix)} This server uses ${folder}: with another AUTH_MESH_DIR it is another device.`,
  };
}
