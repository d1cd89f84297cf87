import { andThen } from '../and-then';
import type { MaybePromise } from '../crypto/provider';
import { NonceStoreUnavailableError } from '../errors/amesh-error';
import { REQUEST_CODES } from '../errors/codes';
import { Fault, toFault } from '../errors/fault';
import type { NonceStore } from '../nonces/nonce-store';
import type { Credentials } from '../wire/credentials';
import type { RequestView } from '../wire/view';
import { checkStart, type FreshnessOptions, keepUntilMs } from './freshness';
import { type Claim, stateOf } from './state';

/**
 * Check 8. The same request in the same store is claimed only once.
 *
 * @param deviceId the device, or {@link delegatesOf} it
 */
export function claimNonce(
  store: NonceStore,
  view: RequestView,
  deviceId: string,
  { nonce, created }: Credentials,
  nowMs: number,
  settings: FreshnessOptions,
): MaybePromise<Fault | null> {
  const state = stateOf(view);
  const before = state.claim;
  for (let claim: Claim | undefined = before; claim !== undefined; claim = claim.before) {
    if (claim.store === store && claim.deviceId === deviceId && claim.nonce === nonce) return null;
  }
  const conclude = (isNew: boolean) => {
    // Only `true` is a permission: a faulty store may return any other value.
    if (isNew !== true) return new Fault(REQUEST_CODES.replay_detected);
    state.claim = { store, deviceId, nonce, before };
    return checkStart(created, store.startedAt, nowMs); // the store may have lost its nonces since check 4
  };
  try {
    return andThen(
      store.claim(deviceId, nonce, keepUntilMs(store, created, nowMs, settings)),
      conclude,
      storeFailed,
    );
  } catch (error) {
    return storeFailed(error);
  }
}

/**
 * @throws AmeshError `nonce_store_unavailable`, for any error of a store whose code is not for clients, such as the one about a
 *   lock that is held too long
 */
export function storeFailed(error: unknown): never {
  if (toFault(error) !== null) throw error;
  throw new NonceStoreUnavailableError(undefined, error);
}
