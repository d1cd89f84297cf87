import type { MaybePromise } from '../crypto/provider';
import { NonceStoreUnavailableError } from '../errors/amesh-error';
import { REQUEST_CODES } from '../errors/codes';
import { Fault, toFault } from '../errors/fault';
import type { NonceStore } from '../nonces/nonce-store';
import type { Credentials } from '../wire/credentials';
import { type RequestView, sourceOf } from '../wire/view';
import { checkStart, type FreshnessOptions, keepUntilMs } from './freshness';

interface Claim {
  readonly store: NonceStore;
  readonly deviceId: string;
  readonly nonce: string;
  /** The one before it, in another store: verifiers of several stores may take turns at a request. */
  readonly before: Claim | undefined;
}

// What was claimed for a request already. It names the nonce, so that a request that was changed to another one is new.
const claims = new WeakMap<object, Claim>();

/** Check 8. The same request again, in the same store, needs no second claim. */
export function claimNonce(
  store: NonceStore,
  view: RequestView,
  { deviceId, nonce, created }: Credentials,
  nowMs: number,
  settings: FreshnessOptions,
): MaybePromise<Fault | null> {
  const source = sourceOf(view);
  const before = claims.get(source);
  for (let claim = before; claim !== undefined; claim = claim.before) {
    if (claim.store === store && claim.deviceId === deviceId && claim.nonce === nonce) return null;
  }
  const conclude = (isNew: boolean) => {
    // Strictly true: what a store that is written wrongly says is no permission.
    if (isNew !== true) return new Fault(REQUEST_CODES.replay_detected);
    claims.set(source, { store, deviceId, nonce, before });
    return checkStart(created, store.startedAt, nowMs); // it may have lost its memory since check 4
  };
  try {
    const answer = store.claim(deviceId, nonce, keepUntilMs(store, created, nowMs, settings));
    return answer instanceof Promise ? answer.then(conclude, storeFailed) : conclude(answer);
  } catch (error) {
    return storeFailed(error);
  }
}

/** Whether a verifier has let this request in already. */
export function isClaimed(view: RequestView): boolean {
  return claims.has(sourceOf(view));
}

/** Lets a request whose body is another stream pass as the same one. */
export function shareClaims(from: RequestView, to: RequestView): void {
  const claim = claims.get(sourceOf(from));
  if (claim !== undefined) claims.set(sourceOf(to), claim);
}

function storeFailed(error: unknown): never {
  if (toFault(error) !== null) throw error;
  throw new NonceStoreUnavailableError(undefined, error);
}
