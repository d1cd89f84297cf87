import { AmeshError } from '../../core/errors/amesh-error';
import type { CodeFacts } from '../../core/errors/define-codes';
import { TRUST_CODES } from '../../trust/errors/codes';
import { PAIRING_CODES } from '../errors/codes';

/** Why a ceremony ended without trust. Neither allow list has changed. */
export type PairingFailure =
  /** The other side speaks no version of the ceremony that this one speaks. */
  | 'unsupported_version'
  /** A message was changed, repeated, left out, or of the wrong kind: by somebody in the middle, or by a broken peer. */
  | 'tampered'
  /** The verification codes differ: three wrong tries at typing. */
  | 'codes_differ'
  /** A person at one of the two machines said no. */
  | 'declined'
  /** The two ends are one device. */
  | 'own_key';

/** Ends a ceremony from inside a step. */
export class PairingError extends Error {
  override readonly name = 'PairingError';

  constructor(readonly failure: PairingFailure) {
    super(failure);
  }
}

export function tampered(): PairingError {
  return new PairingError('tampered');
}

const FACTS_OF = {
  unsupported_version: PAIRING_CODES.pairing_version,
  tampered: PAIRING_CODES.pairing_tampered,
  codes_differ: PAIRING_CODES.codes_differ,
  declined: PAIRING_CODES.pairing_declined,
  own_key: TRUST_CODES.own_key,
} as const satisfies Record<PairingFailure, CodeFacts>;

/**
 * The error that a failed ceremony ends with.
 *
 * @param peer the role of the other machine
 */
export function toPairingError(failure: PairingFailure, peer: 'controller' | 'target'): AmeshError {
  if (failure === 'declined') return new AmeshError(PAIRING_CODES.pairing_declined, `The ${peer} declined.`);
  if (failure !== 'own_key') return new AmeshError(FACTS_OF[failure]);
  return new AmeshError(TRUST_CODES.own_key, 'Both ends are this machine itself.', {
    fix: 'Run amesh listen on the other machine, or with another AUTH_MESH_DIR.',
  });
}
