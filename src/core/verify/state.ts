import { attached } from '../attached';
import type { NonceStore } from '../nonces/nonce-store';
import type { DigestGate } from '../wire/body-gate';
import { type RequestView, sourceOf } from '../wire/view';

/** A nonce that was claimed for a request. */
export interface Claim {
  readonly store: NonceStore;
  readonly deviceId: string;
  readonly nonce: string;
  /** The previous claim: of another verifier with a store of its own, or in the name of the caller's former key. */
  readonly before: Claim | undefined;
}

/** What is known about one request, shared by all its verifiers and views. */
export interface RequestState {
  /** It contains the nonce, so that a request that middleware has turned into another one counts as new. */
  claim?: Claim | undefined;
  /** The bytes of the body, which can be read only once. */
  body?: Uint8Array;
  /** The gate of a streamed body, and the stream behind it. */
  gated?: { readonly gate: DigestGate; readonly stream: ReadableStream<Uint8Array> | null };
  /** The bytes of the body that a parser kept before the first verifier ran. */
  kept?: Uint8Array;
  /** Whether a gate in the request's own stream still withholds the end; undefined without such a gate. */
  isHeldBack?: boolean;
  /** Whether a verifier has handed out the proof of the answer: of several verifiers, the first one signs. */
  isProving?: boolean;
}

const states = attached<RequestState>();
/** For views that other people's code builds, without a request behind them: a new field is expensive in a plain object. */
const ofViews = new WeakMap<object, RequestState>();

function statesFor(source: object): typeof states {
  return Object.getPrototypeOf(source) === Object.prototype ? ofViews : states;
}

/** @param view the view of the request, or only its source */
export function stateOf(view: RequestView | { readonly source: object }): RequestState {
  return stateOfSource(sourceOf(view));
}

/** @param source the request itself, in the form in which its server has it */
export function stateOfSource(source: object): RequestState {
  const own = statesFor(source);
  let state = own.get(source);
  if (state === undefined) {
    state = {};
    own.set(source, state);
  }
  return state;
}

/** Makes verifiers treat a fresh request as the original one, with the same verified body. */
export function standFor(fresh: Request, view: RequestView): void {
  states.set(fresh, stateOf(view));
}

/** Lets a request with a streamed body pass without a second claim. The gate still checks its bytes. */
export function shareClaim(fresh: Request, view: RequestView): void {
  const { claim, isProving = false } = stateOf(view);
  states.set(fresh, { claim, isProving });
}
