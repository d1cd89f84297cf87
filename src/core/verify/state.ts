import type { NonceStore } from '../nonces/nonce-store';
import type { DigestGate } from '../wire/body-gate';
import { type RequestView, sourceOf } from '../wire/view';

/** A nonce that was claimed for a request. */
export interface Claim {
  readonly store: NonceStore;
  readonly deviceId: string;
  readonly nonce: string;
  /** The one before it, in another store: verifiers of several stores may take turns at a request. */
  readonly before: Claim | undefined;
}

/** What verifiers know of one request, however many of them see it and however many views are made of it. */
export interface RequestState {
  /** Names the nonce, so that a request that was changed into another one counts as new. */
  claim?: Claim | undefined;
  /** The bytes of the body, which can be read only once. */
  body?: Uint8Array;
  /** The gate through which the body goes, and the stream behind it. */
  gated?: { readonly gate: DigestGate; readonly stream: ReadableStream<Uint8Array> | null };
}

const states = new WeakMap<object, RequestState>();

export function stateOf(view: RequestView): RequestState {
  const source = sourceOf(view);
  let state = states.get(source);
  if (state === undefined) {
    state = {};
    states.set(source, state);
  }
  return state;
}

/** Lets a request that was made of another one, with its verified bytes, pass as the same. */
export function standFor(fresh: Request, view: RequestView): void {
  states.set(fresh, stateOf(view));
}

/** Lets a request whose body is another stream pass without a second claim. What comes through its gate is read, and checked. */
export function shareClaim(fresh: Request, view: RequestView): void {
  states.set(fresh, { claim: stateOf(view).claim });
}
