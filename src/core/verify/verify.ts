import { verifyingCrypto } from '#crypto';
import { createExplain } from '#hints';
import { answerNonce, asksForProof } from '../answers/answer';
import { type AnswerProof, createProof } from '../answers/proof';
import type { AnswerSigner } from '../answers/sign-answer';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import { type AllowListSource, type createAllowList, toSource } from '../devices/allow-list';
import { KeyCache } from '../devices/key-cache';
import { toUtf8 } from '../encoding';
import { callSafely } from '../errors/call-safely';
import { Fault, toFault } from '../errors/fault';
import { InMemoryNonceStore } from '../nonces/memory';
import { checkPurpose } from '../statements/carried-statement';
import { StatementCache } from '../statements/statement-cache';
import { isDeviceId } from '../wire/credentials';
import { toFreshRequest } from '../wire/fresh-request';
import { fieldValue, isRequest, type RequestView, sourceOf, toRequestView } from '../wire/view';
import { readyBody } from './body';
import {
  type Context,
  type Incoming,
  type Known,
  recheck,
  runChecks,
  type Verified,
  type VerifyCall,
} from './checks';
import { scopesOf } from './device';
import { readVerifyOptions, type VerifyOptions } from './options';
import { toRefusal } from './refusal';
import { shareClaim, standFor, stateOf } from './state';
import type { BodyStream } from './stream-body';
import {
  type Accepted,
  type Answered,
  type AnswerHeaders,
  type AuthMeshIdentity,
  type Refused,
  refused,
  type Verdict,
  withHeaders,
} from './verdict';

/** Options for your own verifier: those of `verify()`, and an allow list. */
export interface VerifierOptions extends VerifyOptions {
  /** The devices to trust: a source that is asked for every request, a list of `createAllowList()`, or its values. */
  readonly allowList: AllowListSource | Parameters<typeof createAllowList>[0];
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /**
   * The key that signs the answers to callers that ask for that; or a function that supplies it when it is needed, or undefined if
   * there is none. Default: answers are never signed.
   */
  readonly answerSigner?: AnswerSigner | (() => MaybePromise<AnswerSigner | undefined>) | undefined;
  /** Called when an answer cannot be signed, and is sent without a signature. Default: nothing. */
  readonly onSigningFailure?: ((error: unknown) => void) | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** What an instance of `createAmesh()` adds to a verifier. */
export interface VerifierHooks {
  /** With `enroll`: answers requests to amesh itself. Returns null for a request to handlers. */
  readonly answer?: ((request: Incoming) => Promise<Answered | Fault> | null) | undefined;
  /** Called for each accepted request. Returns headers to add to its response. */
  readonly onAccept?: ((request: Verified) => MaybePromise<AnswerHeaders | undefined>) | undefined;
}

/**
 * Accepts or refuses requests. Create it once and use it for every request. `Other` is `never` for a verifier that answers
 * no enrolments.
 */
export interface Verifier<Other extends Answered = Answered> {
  /**
   * Verifies one request by the checks of docs/protocol.md, in their order. It never throws because of what a client
   * sends. Verifying the same request again needs no second claim of its nonce.
   */
  verify(request: Request, call?: VerifyCall): Promise<Accepted<Request> | Refused | Other>;
  /** The same for a view, which is returned with the bytes of its body. */
  verify(
    request: RequestView,
    call?: VerifyCall,
  ): Promise<
    | Accepted<
        RequestView & {
          /** The verified bytes; empty if `stream` is set, or the request has no body. */
          body: Uint8Array;
        }
      >
    | Refused
    | Other
  >;
}

type ViewWithBody = RequestView & { body: Uint8Array };

/**
 * Creates a verifier, and checks its settings once.
 *
 * @throws TypeError for a wrong option
 * @see docs/protocol.md, "The checks"
 */
export function createVerifier(options: VerifierOptions): Verifier<never> {
  return createVerifierWith(options, {}) as Verifier<never>; // without a hook it answers no enrolments
}

/** Like {@link createVerifier}, for an instance. */
export function createVerifierWith(options: VerifierOptions, hooks: VerifierHooks): Verifier {
  const {
    allowList,
    crypto = verifyingCrypto,
    now = Date.now,
    answerSigner,
    onSigningFailure,
    ...rest
  } = options;
  const settings = readVerifyOptions(rest);
  const signer = toSignerSource(answerSigner);
  if (settings.enroll && hooks.answer === undefined)
    throw new TypeError('enroll needs an instance of createAmesh().');
  const context: Context = {
    settings,
    crypto,
    now,
    source: toSource(allowList),
    nonceStore: settings.nonceStore ?? new InMemoryNonceStore({ now }),
    keys: new KeyCache(crypto),
    statements: new StatementCache(),
    proofs: signer && {
      signer,
      maxAnswerBytes: settings.maxAnswerBytes,
      crypto,
      now,
      onFailure: (error) => callSafely(() => onSigningFailure?.(error), 'onSigningFailure'),
    },
    explain: createExplain(allowList),
  };
  // Reported before the first request, since other verifiers with the same store may already claim nonces.
  context.nonceStore.widestSkew?.(settings.clockSkewSeconds, now());
  async function verify(request: Request | RequestView, call: VerifyCall = {}) {
    if (!isRequest(request)) return verifyView(context, hooks, request, call);
    const view = { ...toRequestView(request), localPort: call.localPort };
    const verdict = await verifyView(context, hooks, view, call);
    return verdict.ok ? { ...verdict, request: giveBody(request, view, verdict) } : verdict;
  }
  return { verify } as Verifier;
}

/** The request with its verified body; a fresh one if the body was already read, or is streamed. */
function giveBody(
  request: Request,
  view: RequestView,
  { stream, request: { body } }: { stream?: BodyStream | undefined; request: ViewWithBody },
): Request {
  const { body: own } = request;
  // In @whatwg-node/fetch, a clone is the request itself, so its body is the one that was read.
  if (own === null || (!stream && !request.bodyUsed && !own.locked)) return request;
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
    const own = checkPurpose(view) ?? (context.settings.enroll && (await hooks.answer?.(request)));
    const verified = own || (await runChecks(request));
    if (verified instanceof Fault) return await proven(request, report(verified));
    if ('kind' in verified) return verified;
    const telling = hooks.onAccept?.(verified);
    const headers = telling instanceof Promise ? await telling : telling;
    const { body, stream } = verified;
    return {
      ok: true,
      kind: 'accepted',
      caller: toCaller(verified),
      headers,
      mayStillCall: () => mayStillCall(verified),
      proof: takeProof(request),
      request: { ...view, body, source: sourceOf(view) },
      stream,
    };
  } catch (error) {
    // Only the allow list, a store and a body throw, each with its own code.
    const thrown = toFault(error);
    if (thrown === null) throw error;
    return proven(request, report(thrown, error));
  }
}

/**
 * A working key only signs, so what it has opened does not end with it: its device has another one by then. A delegation says how
 * long its delegate may call.
 */
async function mayStillCall(request: Verified): Promise<boolean> {
  try {
    const countsAtMs = request.statement?.delegation ? undefined : request.nowMs;
    return (await recheck(request, countsAtMs)) === null;
  } catch {
    return false;
  }
}

/** Signs the answer to a request, if it asked for that, its signature is right, and its nonce is claimed. */
function proofOf(request: Incoming): AnswerProof | undefined {
  const { context, view, isClaimed, ownProof } = request;
  if (ownProof !== undefined) return ownProof;
  if (!isClaimed || context.proofs === undefined || !asksForProof(view.headers)) return undefined;
  const { credentials, list, base = '' } = request as Known; // set before the claim
  const { gate } = stateOf(view).gated ?? {};
  const nonce = () => answerNonce(base, credentials.signature, context.crypto);
  const named = fieldValue(view.headers, 'authmesh-target');
  return createProof(context.proofs, { method: view.method, nonce, named, list, gate });
}

/** The proof for an adapter. Only the first verifier of a request hands it out: it sees the answer last. */
function takeProof(request: Incoming): AnswerProof | undefined {
  const state = stateOf(request.view);
  const proof = state.isProving ? undefined : proofOf(request);
  if (proof !== undefined) state.isProving = true;
  return proof;
}

/** A refusal with its signature, where it may have one. */
async function proven(request: Incoming, refusal: Refused): Promise<Refused> {
  const proof = proofOf(request);
  if (proof === undefined) return refusal;
  const { status, headers, body } = refusal.answer;
  const added = await proof.sign({ status, headers, body: toUtf8(body) });
  return added === null ? refusal : withHeaders(refusal, added);
}

function toSignerSource(
  given: VerifierOptions['answerSigner'],
): (() => MaybePromise<AnswerSigner | undefined>) | undefined {
  if (given === undefined || typeof given === 'function') return given;
  if (typeof given.sign !== 'function' || !isDeviceId(given.deviceId))
    throw new TypeError('answerSigner needs a deviceId and sign().');
  return () => given;
}

const NO_SCOPES: readonly string[] = Object.freeze([]);

function toCaller({ device, statement, nowMs }: Verified): AuthMeshIdentity {
  const { deviceId, friendlyName, formerIds } = device;
  const verifiedAt = Math.floor(nowMs / 1000);
  const given = scopesOf(device, statement);
  const scopes = given.length === 0 ? NO_SCOPES : Object.freeze([...given]);
  const always = { deviceId, friendlyName, verifiedAt, scopes };
  const caller = formerIds === undefined ? always : { ...always, formerIds: Object.freeze([...formerIds]) };
  if (statement?.delegation === undefined) return caller;
  const { delegation, expiresAt, id } = statement;
  const { name, scopes: lent } = delegation;
  return { ...caller, delegate: { name, scopes: Object.freeze([...lent]), expiresAt, id } };
}

/** Reports the reason, and returns the refusal for the client. */
function refuse(
  { context, view, credentials, line, nowMs }: Incoming,
  fault: Fault,
  cause?: unknown,
): Refused {
  const refusal = toRefusal(fault, view, credentials, line, cause, nowMs);
  const { onRefusal } = context.settings;
  // An error in the user's own logging must not stop the server or change the refusal.
  if (onRefusal !== undefined) callSafely(() => onRefusal(refusal));
  const bodyUnread = typeof view.body === 'function' && readyBody(view) === undefined;
  return refused(fault.facts, nowMs, bodyUnread);
}
