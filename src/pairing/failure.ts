/** Why a ceremony ended without trust. In every case neither allow list has changed. */
export type PairingFailure =
  /** The other side speaks no version of ours. */
  | 'unsupported_version'
  /** A message was changed, repeated, left out, or of the wrong kind: somebody between, or a broken peer. */
  | 'tampered'
  /** The verification codes differ: three wrong tries at typing. */
  | 'codes_differ'
  /** Somebody at one of the two machines said no. */
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
