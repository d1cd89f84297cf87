import type { CalledTarget } from '../core/answers/asking';
import { type DelegatedSigner, delegatedSigner } from '../core/statements/delegated-signer';
import { normalizeAuthority } from '../core/wire/authority';
import { readVariable, VariableError } from '../process/environment';
import type { Env } from '../process/home';
import { createLog, type Log } from '../process/log';
import { hideSecret, readSecret } from '../process/secrets';
import type { AmeshSettings } from './options';

const VARIABLE = 'AMESH_DELEGATION';

/** Each of these variables names a folder, a list or an identity. A delegate has none of them. */
const OTHERS = ['AUTH_MESH_DIR', 'AMESH_OWNER_KEY', 'AMESH_STORE_URL', 'AMESH_BOOTSTRAP_TOKEN'] as const;

/** The first of these variables that is set. Next to AMESH_DELEGATION, it makes an instance fail at its first use. */
export function besideDelegation(env: Env): (typeof OTHERS)[number] | undefined {
  return OTHERS.find((name) => env[name]);
}

/** The state of an instance with AMESH_DELEGATION: it calls as a delegate, without a folder, and does nothing else. */
export class Delegate {
  readonly log: Log;
  readonly #opening: Promise<DelegatedSigner>;

  constructor(opening: Promise<DelegatedSigner>, env: Env) {
    this.log = createLog(env, null);
    this.#opening = opening;
  }

  signer(): Promise<DelegatedSigner> {
    return this.#opening;
  }

  /** The target behind an authority. If there are several targets, only the authorities in the delegation lead to one. */
  async target(authority: string): Promise<CalledTarget | string | undefined> {
    const { delegation, targets } = await this.#opening;
    const [only, ...others] = delegation.targets;
    if (others.length === 0) return targets[0] ?? only;
    const called = normalizeAuthority(authority);
    return targets.find(({ hosts }) => hosts.some((host) => host === called));
  }
}

/**
 * Reads AMESH_DELEGATION, and removes it from `process.env`, so that child processes do not inherit it. Later instances and threads
 * still find it: otherwise they would act with the identity in a folder, and so have more rights.
 *
 * @returns null if there is none
 * @throws VariableError, also if the instance was given a folder or a list, too
 */
export function openDelegate(settings: AmeshSettings): Delegate | null {
  const env = settings.env();
  const value = readSecret(env, 'AMESH_DELEGATION'); // the name is written out, since a test looks for the variables that the code reads
  const text = readVariable({ [VARIABLE]: value }, VARIABLE, 'wrong');
  if (text === undefined) return null;
  const option = (['dir', 'storage', 'signer'] as const).find((name) => settings[name] !== undefined);
  const other = option ?? besideDelegation(env);
  if (other !== undefined)
    throw new VariableError(
      VARIABLE,
      `and ${other} are both given.`,
      'A delegate has no folder, list or key of its own: remove one of the two.',
    );
  const opening = delegatedSigner(text).catch(() => {
    throw new VariableError(
      VARIABLE,
      'is not a delegation.',
      'Copy the whole text that amesh delegate printed: it begins with amesh_delegation_.',
    );
  });
  opening.catch(() => {}); // the first request reports it
  hideSecret(env, VARIABLE);
  return new Delegate(opening, env);
}

/** The error for everything that needs an identity. */
export function onlyCalls(): TypeError {
  return new TypeError(
    `With ${VARIABLE}, this instance is a delegate: it can send requests, but has no identity and cannot verify.`,
  );
}
