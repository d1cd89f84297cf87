import type { createExplain } from '#hints';
import { andThen } from '../and-then';
import { asksForProof } from '../answers/answer';
import type { AnswerProof, ProofSettings } from '../answers/proof';
import type { MaybePromise, PublicKey, VerifyingCrypto } from '../crypto/provider';
import type { AllowList, AllowListSource, TrustedDevice } from '../devices/allow-list';
import type { KeyCache } from '../devices/key-cache';
import { Fault, malformed } from '../errors/fault';
import { delegatesOf, type NonceStore } from '../nonces/nonce-store';
import {
  type CarriedStatement,
  checkStatement,
  keepStatement,
  readCarried,
  signingKey,
} from '../statements/carried-statement';
import type { StatementCache } from '../statements/statement-cache';
import type { Credentials } from '../wire/credentials';
import { changed, isAmbiguous, isSafe, type RequestLine, readRequestLine } from '../wire/line';
import type { RequestView } from '../wire/view';
import { checkBody, readBody, readyBody } from './body';
import { checkRights, findController, readAllowList } from './device';
import { checkFreshness, mayProveTime } from './freshness';
import { checkHost } from './host';
import { claimNonce } from './nonce';
import type { VerifySettings } from './options';
import { readCredentials } from './read';
import { checkSignature, readCovered, signatureBase } from './signature';
import { stateOf } from './state';
import { type BodyStream, streamBody } from './stream-body';

/** The parts that all requests of a verifier share. */
export interface Context {
  readonly settings: VerifySettings;
  readonly crypto: VerifyingCrypto;
  readonly now: () => number;
  readonly source: AllowListSource;
  readonly nonceStore: NonceStore;
  readonly keys: KeyCache;
  readonly statements: StatementCache;
  /** Undefined if answers are never signed. */
  readonly proofs: ProofSettings | undefined;
  /** Undefined in small bundles, which have no hints. */
  readonly explain: ReturnType<typeof createExplain>;
}

/** What a framework knows about one request. */
export interface VerifyCall {
  /** Overrides the option of the same name for one request, for frameworks that decide by the peer's address. */
  readonly trustForwardedHost?: boolean | undefined;
  /** For a `Request`, which does not contain it: the port on which this server accepted the connection. */
  readonly localPort?: number | undefined;
}

/** A request during its checks. */
export interface Incoming {
  readonly context: Context;
  readonly view: RequestView;
  readonly call: VerifyCall;
  /** When it arrived, Unix milliseconds. */
  readonly nowMs: number;
  /** What it claims about its signature, once that is read; refusals report it. */
  credentials?: Credentials | Fault;
  line?: RequestLine | Fault;
  /** Whether its signature is right and its nonce is claimed: only then may its answer be signed. */
  isClaimed?: boolean;
  /** Signs the answer to an enrolment whose two signatures are right, and which asks for that. */
  ownProof?: AnswerProof | undefined;
  /**
   * A refusal for its time. It waits until the nonce is claimed, so that a proven refusal means that the request will never be
   * carried out.
   */
  clockFault?: Fault | undefined;
  /** Reports a fault in a body that handlers read while it arrives. */
  readonly report: (fault: Fault) => void;
}

/** After checks 1 and 2. */
export interface Readable extends Incoming {
  readonly credentials: Credentials;
  readonly line: RequestLine;
  /** The components that the signature covers. */
  readonly covered: readonly string[];
  /** The text whose signature was checked last: after check 7, the text that was signed. */
  base?: string;
  /** Only for a request that a working key signed. After check 7 it is proven. */
  statement?: CarriedStatement | undefined;
}

/** After checks 3 to 6, too: the device that the request claims may call. */
export interface Known extends Readable {
  readonly list: AllowList;
  readonly device: TrustedDevice;
}

/** After all checks. */
export interface Verified extends Known {
  /** The verified bytes; empty if the body is streamed. */
  readonly body: Uint8Array;
  /** Only if the body is streamed. */
  readonly stream?: BodyStream | undefined;
}

type Step<From, To> = (request: From) => MaybePromise<To | Fault>;

/** Runs the checks of docs/protocol.md, in their order. */
export async function runChecks(request: Incoming): Promise<Verified | Fault> {
  let state: Incoming | Fault = request;
  for (const step of STEPS) {
    const next: MaybePromise<Incoming | Fault> = step(state);
    state = next instanceof Promise ? await next : next;
    if (state instanceof Fault) return request.clockFault ?? state;
  }
  return state as Verified; // the last step returns this type
}

/** Checks 1 and 2: the request is signed, and the signature covers what it must. */
const readRequest: Step<Incoming, Readable> = (request) => {
  const { view } = request;
  const credentials = readCredentials(view.headers);
  request.credentials = credentials;
  if (credentials instanceof Fault) return credentials;
  const line = readLine(request);
  if (line instanceof Fault) return line;
  const covered = readCovered(credentials, view.headers);
  if (covered instanceof Fault) return covered;
  const statement = readCarried(request.context, view, credentials.deviceId);
  if (statement instanceof Fault) return statement;
  // `credentials` and `line` are set above.
  return Object.assign(request as Incoming & Pick<Readable, 'credentials' | 'line'>, { covered, statement });
};

/** Checks 3 to 6, with the current allow list. */
const consultList: Step<Readable, Known> = (request) =>
  andThen(readAllowList(request.context.source), (list) => {
    const { context, view, line, credentials, nowMs } = request;
    const { settings, nonceStore } = context;
    const elsewhere = checkHost(settings, view, line, list);
    if (elsewhere !== null) return elsewhere;
    const late = checkFreshness(credentials, nowMs, settings, nonceStore.startedAt);
    if (late !== null) {
      if (!mayProveClock(request)) return late;
      request.clockFault = late;
    }
    const device = findController(list, credentials.deviceId);
    if (device instanceof Fault) return device;
    const known = Object.assign(request, { list, device });
    return checkStatement(known, nowMs) ?? known;
  });

/**
 * Whether a refusal for the time of a request can be proven to the caller. If so, its signature is checked and its nonce is claimed
 * first.
 */
function mayProveClock({ view, context, credentials, nowMs }: Readable): boolean {
  const { proofs, nonceStore } = context;
  return (
    mayProveTime(credentials.created, nowMs, nonceStore.startedAt) &&
    proofs !== undefined &&
    asksForProof(view.headers)
  );
}

/** Check 7. */
const proveSignature: Step<Known, Known> = (request) =>
  andThen(signingKey(request), (key) =>
    key instanceof Fault
      ? key
      : andThen(checkLine(request, key, request.line), (wrong) =>
          wrong === null ? checkPath(request) : explainWrong(request, key, wrong),
        ),
  );

/** Check 8. */
const claim: Step<Known, Known> = (request) => {
  const { context, view, credentials, statement, nowMs } = request;
  if (statement !== undefined) keepStatement(context, view, statement);
  const { deviceId } = credentials;
  const id = statement?.delegation === undefined ? deviceId : delegatesOf(deviceId);
  const claimAs = (name: string) =>
    claimNonce(context.nonceStore, view, name, credentials, nowMs, context.settings);
  const former = formerKeyOf(request);
  const claiming = andThen(claimAs(id), (fault) =>
    fault !== null || former === undefined ? fault : claimAs(former),
  );
  return andThen(claiming, (fault) => {
    request.isClaimed = fault === null;
    return fault ?? request.clockFault ?? request;
  });
};

/**
 * The former key of the caller, which may have signed this request, too. If a client gets no proof of the answer, it may sign a
 * request once more with its other key and the same nonce: only one of the two is carried out, even if somebody holds the first one
 * back.
 */
function formerKeyOf({ view, line, device, statement }: Known): string | undefined {
  const mayBeSignedTwice = !isSafe(line.method) && asksForProof(view.headers);
  return mayBeSignedTwice && statement?.delegation === undefined ? device.formerIds?.at(-1) : undefined;
}

/** Check 9. It comes after the claim, so that a request that is refused here is a replay once the device has the right. */
const requireRights: Step<Known, Known> = (request) =>
  checkRights(request.device, request.statement, request.context.settings, request.nowMs) ?? request;

/** Check 10. */
const takeBody: Step<Known, Verified> = (request) => {
  const bytes = readyBody(request.view);
  return bytes === undefined ? awaitBody(request) : checkBytes(request, bytes);
};

const STEPS = [readRequest, consultList, proveSignature, claim, requireRights, takeBody] as Step<
  Incoming,
  Incoming
>[];

/** Method, authority, path and query, as they should have been signed. */
export function readLine(request: Incoming): RequestLine | Fault {
  const { authority, pathPrefix, trustForwardedHost } = request.context.settings;
  request.line = readRequestLine(request.view, {
    authority,
    pathPrefix,
    trustForwardedHost: request.call.trustForwardedHost ?? trustForwardedHost,
  });
  return request.line;
}

function checkLine(request: Readable, key: PublicKey, line: RequestLine): MaybePromise<Fault | null> {
  const { view, credentials, covered } = request;
  const base = signatureBase(line, view.headers, credentials, covered);
  if (base instanceof Fault) return base;
  request.base = base;
  return checkSignature(key, base, credentials.signature);
}

/** Code that builds its own view knows how its server reads the path. */
function checkPath(request: Known): Known | Fault {
  const isOwn = request.view.source === undefined;
  if (isOwn || !isAmbiguous(request.line.path)) return request;
  return malformed('The path has a dot segment or a backslash.');
}

async function explainWrong(request: Known, key: PublicKey, wrong: Fault): Promise<Known | Fault> {
  const { context, view, line, list } = request;
  if (view.hidesApostrophe && line.query.includes('%27')) {
    const query = line.query.replaceAll('%27', "'");
    if ((await checkLine(request, key, { ...line, query })) === null) return checkPath(request);
  }
  if (stateOf(view).claim !== undefined) return changed('request');
  const attempt = (other: RequestLine) => checkLine(request, key, other);
  return (await context.explain?.(attempt, line, view, context.settings.hosts ?? list.hosts)) ?? wrong;
}

/**
 * Whether the device may still call, and still has the scopes, according to the present list.
 *
 * @param countsAtMs when its statement has to count, Unix milliseconds; default now
 */
export function recheck(request: Known, countsAtMs?: number): MaybePromise<Fault | null> {
  const { context, statement } = request;
  return andThen(readAllowList(context.source), (list) => {
    const nowMs = context.now();
    const device = findController(list, request.device.deviceId);
    if (device instanceof Fault) return device;
    Object.assign(request, { list, device }); // the handler gets the present scopes
    return (
      checkStatement(request, countsAtMs ?? nowMs) ?? checkRights(device, statement, context.settings, nowMs)
    );
  });
}

/** A body can take minutes, but a change of the list takes effect within a second. So this checks the list again after the body. */
async function awaitBody(request: Known): Promise<Verified | Fault> {
  const { context, view, report } = request;
  const { maxBodyBytes, streamsBody } = context.settings;
  if (streamsBody) {
    const { crypto } = context;
    const again = async () => recheck(request);
    const stream = await streamBody(view, { maxBodyBytes, crypto, recheck: again, report });
    if (stream instanceof Fault) return stream;
    if (stream !== undefined) return Object.assign(request, { body: new Uint8Array(), stream });
  }
  const bytes = await readBody(view, maxBodyBytes);
  return andThen(recheck(request), (fault) => fault ?? checkBytes(request, bytes));
}

function checkBytes(request: Known, bytes: Uint8Array | null): MaybePromise<Verified | Fault> {
  const { context, view } = request;
  return andThen(checkBody(view, bytes, context.settings.maxBodyBytes, context.crypto), (body) =>
    body instanceof Fault ? body : Object.assign(request, { body }),
  );
}
