import { AmeshError } from '../../core/errors/amesh-error';

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

const CODE_OF = {
  unsupported_version: 'pairing_version',
  tampered: 'pairing_tampered',
  codes_differ: 'codes_differ',
  declined: 'pairing_declined',
  own_key: 'own_key',
} as const satisfies Record<PairingFailure, string>;

/**
 * The error that a failed ceremony ends with.
 *
 * @param peer the role of the other machine
 */
export function toPairingError(failure: PairingFailure, peer: 'controller' | 'target'): AmeshError {
  if (failure === 'declined') return new AmeshError('pairing_declined', `The ${peer} declined.`);
  if (failure !== 'own_key') return new AmeshError(CODE_OF[failure]);
  return new AmeshError('own_key', 'Both ends are this machine itself.', {
    fix: 'Run amesh listen on the other machine, or with another AUTH_MESH_DIR.',
  });
}
