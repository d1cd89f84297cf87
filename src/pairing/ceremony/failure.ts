import { AmeshError } from '../../core/errors/amesh-error';
import type { CodeFacts } from '../../core/errors/define-codes';
import { TRUST_CODES } from '../../trust/errors/codes';
import { PAIRING_CODES } from '../errors/codes';

/** Why a ceremony ended without trust. Neither allow list has changed. */
export type PairingFailure =
  /** The two sides have no version of the ceremony in common. */
  | 'unsupported_version'
  /** A message was changed, repeated, dropped or unexpected: by somebody in the middle, or by a faulty peer. */
  | 'tampered'
  /** The verification codes differ: the typed code was wrong three times. */
  | 'codes_differ'
  /** A person at one of the machines declined. */
  | 'declined'
  /** Both ends are the same device. */
  | 'own_key';

/** Ends a ceremony from within a step. */
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
 * The error for a failed ceremony.
 *
 * @param peer the role of the other machine
 */
export function toPairingError(failure: PairingFailure, peer: 'controller' | 'target'): AmeshError {
  if (failure === 'declined') return new AmeshError(PAIRING_CODES.pairing_declined, `The ${peer} declined.`);
  if (failure !== 'own_key') return new AmeshError(FACTS_OF[failure]);
  return new AmeshError(TRUST_CODES.own_key, 'Both ends are this machine.', {
    fix: 'Run amesh listen on the other machine, or with another AUTH_MESH_DIR.',
  });
}
