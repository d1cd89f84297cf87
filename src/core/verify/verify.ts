import { cryptoProvider } from '#crypto';
import { createExplain } from '#hints';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import { type AllowListSource, type createAllowList, toSource } from '../devices/allow-list';
import { KeyCache } from '../devices/key-cache';
import { callSafely } from '../errors/call-safely';
import { Fault, toFault } from '../errors/fault';
import { InMemoryNonceStore } from '../nonces/memory';
import { toFreshRequest } from '../wire/fresh-request';
import { isRequest, type RequestView, sourceOf, toRequestView } from '../wire/view';
import { readyBody } from './body';
import { type Context, type Incoming, runChecks, type Verified, type VerifyCall } from './checks';
import { readVerifyOptions, type VerifyOptions } from './options';
import { toRefusal } from './refusal';
import { shareClaim, standFor } from './state';
import type { BodyStream } from './stream-body';
import {
  type Accepted,
  type Answered,
  type AnswerHeaders,
  type Refused,
  refused,
  type Verdict,
} from './verdict';

/** How a verifier of your own verifies: as `verify()` does, with a list that you bring. */
export interface VerifierOptions extends VerifyOptions {
  /** Whom to trust: a source that is asked on every request, a list of `createAllowList()`, or its values. */
  readonly allowList: AllowListSource | Parameters<typeof createAllowList>[0];
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** What an instance of `createAmesh()` adds to a verifier. */
export interface VerifierHooks {
  /** Where `enroll` is on: answers what is for amesh itself. Null for a request that handlers get. */
  readonly answer?: ((request: Incoming) => Promise<Answered | Fault> | null) | undefined;
  /** Told of each request that may pass. What it gives goes out with the answer. */
  readonly onAccept?: ((request: Verified) => MaybePromise<AnswerHeaders | undefined>) | undefined;
}

/**
 * Lets requests through, or says why not. Made once, and asked for each request. `Other` is `never` where it answers no
 * enrolments; that of an instance may.
 */
export interface Verifier<Other extends Answered = Answered> {
  /**
   * Verifies one request by the checks of docs/protocol.md, in their order. Never throws for anything that a
   * client can send. The same request verified again passes without a second claim of its nonce.
   */
  verify(request: Request, call?: VerifyCall): Promise<Accepted<Request> | Refused | Other>;
  /** The same for a view, which comes back with the bytes of its body. */
  verify(
    request: RequestView,
    call?: VerifyCall,
  ): Promise<
    | Accepted<
        RequestView & {
          /** The verified bytes; none where `stream` is set, or where the request has no body. */
          body: Uint8Array;
        }
      >
    | Refused
    | Other
  >;
}

type ViewWithBody = RequestView & { body: Uint8Array };

/**
 * A verifier with its settings checked once.
 *
 * @throws TypeError for a wrong option
 * @see docs/protocol.md, "The checks"
 */
export function createVerifier(options: VerifierOptions): Verifier<never> {
  return createVerifierWith(options, {}) as Verifier<never>; // without an enroller it answers nothing itself
}

/** As {@link createVerifier}, for an instance. */
export function createVerifierWith(options: VerifierOptions, hooks: VerifierHooks): Verifier {
  const { allowList, crypto = cryptoProvider, now = Date.now, ...rest } = options;
  const settings = readVerifyOptions(rest);
  if (settings.enroll && hooks.answer === undefined)
    throw new TypeError('enroll needs an instance of createAmesh().');
  const context: Context = {
    settings,
    crypto,
    now,
    source: toSource(allowList),
    nonceStore: settings.nonceStore ?? new InMemoryNonceStore({ now }),
    keys: new KeyCache(crypto),
    explain: createExplain(allowList),
  };
  // Told before the first request, since others that share the store may be claiming already.
  context.nonceStore.widestSkew?.(settings.clockSkewSeconds, now());
  async function verify(request: Request | RequestView, call: VerifyCall = {}) {
    if (!isRequest(request)) return verifyView(context, hooks, request, call);
    const view = { ...toRequestView(request), localPort: call.localPort };
    const verdict = await verifyView(context, hooks, view, call);
    return verdict.ok ? { ...verdict, request: giveBody(request, view, verdict) } : verdict;
  }
  return { verify } as Verifier;
}

/** The request with its verified body. One that was read already, or that is streamed, is replaced by a fresh one. */
function giveBody(
  request: Request,
  view: RequestView,
  { stream, request: { body } }: { stream?: BodyStream | undefined; request: ViewWithBody },
): Request {
  if (request.body === null || (!stream && !request.bodyUsed)) return request;
  const fresh = toFreshRequest(request, stream ?? body);
  (stream ? shareClaim : standFor)(fresh, view);
  return fresh;
}

async function verifyView(
  context: Context,
  hooks: VerifierHooks,
  view: RequestView,
  call: VerifyCall,
): Promise<Verdict<ViewWithBody>> {
  const report = (fault: Fault, cause?: unknown) => refuse(request, fault, cause);
  const request: Incoming = { context, view, call, nowMs: context.now(), report };
  try {
    const own = context.settings.enroll && (await hooks.answer?.(request));
    const verified = own || (await runChecks(request));
    if (verified instanceof Fault) return report(verified);
    if ('kind' in verified) return verified;
    const telling = hooks.onAccept?.(verified);
    const headers = telling instanceof Promise ? await telling : telling;
    const { deviceId, friendlyName } = verified.device;
    const caller = { deviceId, friendlyName, verifiedAt: Math.floor(request.nowMs / 1000) };
    const { body, stream } = verified;
    return {
      ok: true,
      kind: 'accepted',
      caller,
      headers,
      request: { ...view, body, source: sourceOf(view) },
      stream,
    };
  } catch (error) {
    // A stranger cannot get here: only the allow list, a store or a body throws, and its code says which.
    const thrown = toFault(error);
    if (thrown === null) throw error;
    return report(thrown, error);
  }
}

/** Tells why, and says what the client gets. */
function refuse(
  { context, view, credentials, line, nowMs }: Incoming,
  fault: Fault,
  cause?: unknown,
): Refused {
  const refusal = toRefusal(fault, view, credentials, line, cause, nowMs);
  const { onRefusal } = context.settings;
  // A request must not decide whether the user's own logging stops the server, and the refusal stands.
  if (onRefusal !== undefined) callSafely(() => onRefusal(refusal));
  const bodyUnread = typeof view.body === 'function' && readyBody(view) === undefined;
  return refused(fault.facts, nowMs, bodyUnread);
}
