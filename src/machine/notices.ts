import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import type { Refusal } from '../core/verify/refusal';
import type { Env } from '../process/home';
import type { Log } from '../process/log';
import { TRUST_CODES } from '../trust/errors/codes';
import { inspectFolder } from '../trust/folder-safety';

// What an instance tells the people who run it, beside the refusals: each line once in a process.

/** A lease is about to end that this instance cannot move on. */
export const CANNOT_RENEW =
  'A lease of a grant is about to end, and this instance has no key to move it on (AMESH_OWNER_KEY). It ends unless its caller also calls an instance that has the folder of the identity. See docs/provisioning.md.';

/** What a folder that other users can read or write means for this instance. */
export function tellOfFolder(dir: string, env: Env, isReader: boolean, log: Log): void {
  for (const { kind, message, fix } of inspectFolder(dir, env)) {
    // The list of a reader is sealed elsewhere, and its folder only remembers how new the list was.
    if (isReader && kind === 'open') continue;
    const until =
      isReader || kind === 'open'
        ? ''
        : ' Until then this machine refuses every signed request and signs none.';
    log.once(`${message} ${fix}${/[.!]$/.test(fix) ? '' : '.'}${until}`);
  }
}

export function tellNoIdentity(dir: string, env: Env, log: Log): void {
  const isEmpty = env.AMESH_BOOTSTRAP_TOKEN?.trim() === '';
  log.once(
    `There is no identity in ${dir}${isEmpty ? ', and AMESH_BOOTSTRAP_TOKEN is empty' : ''}. Run: amesh init --name NAME. Until then every signed request gets 503.`,
  );
}

/** @param error why the token of the environment was not taken */
export function tellNotTaken(error: Error, isReader: boolean, log: Log): void {
  const why = `${isAmeshError(error) ? `, ${error.code}` : ''}: ${error.message.replace(/\.$/, '')}.`;
  const until = isReader ? '' : ' Until then every signed request gets 503.';
  log.once(`AMESH_BOOTSTRAP_TOKEN was not taken${why}${until}`);
}

export function tellMemoryNonces(log: Log): void {
  log.once(
    'Using in-memory nonce store. It is exact for one process; with several behind one address a request can be replayed to another. Set REDIS_URL, see docs/production.md.',
  );
}

/** A reader that is asked to call others. The usual advice would make a second target beside the one it verifies for. */
export function noKeyToCallWith(dir: string): AmeshError {
  return new AmeshError(
    TRUST_CODES.no_identity,
    `There is no private key in ${dir}: with AMESH_OWNER_KEY alone this instance verifies, and calls nobody.`,
    { fix: 'To call others, give it the folder of an identity (AUTH_MESH_DIR). See docs/production.md.' },
  );
}

/**
 * A refusal with the fix for a server that has files and the command.
 *
 * @param folder where it runs from, in words: started with another folder, it is another device
 */
export function withLocalFix(refusal: Refusal, folder: string): Refusal {
  if (refusal.code === 'device_expired') {
    const fix =
      'Pair it again: amesh listen here, and amesh invite on the caller. Or give it the token of a new grant: amesh grant';
    return { ...refusal, fix };
  }
  if (refusal.code !== 'wrong_target') return refusal;
  return {
    ...refusal,
    fix: `${refusal.fix} This server runs from ${folder}: started with another AUTH_MESH_DIR, it is another device.`,
  };
}
