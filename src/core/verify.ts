import { cryptoProvider } from '#crypto';
import {
  type AllowList,
  type AllowListSource,
  createAllowList,
  deviceIdOf,
  type TrustedDevice,
} from './allow-list';
import { isLoopback, portOf } from './authority';
import type { AuthMeshIdentity } from './caller';
import { CODES, type RejectCode } from './codes';
import type { Credentials } from './credentials';
import type { CryptoProvider, MaybePromise, PublicKey } from './crypto/provider';
import { readContentDigest } from './digest';
import { equalBytes, fromBase64Url, toSlab } from './encoding';
import { AllowListIntegrityError, AmeshError, isAmeshError, NonceStoreUnavailableError } from './errors';
import { Fault } from './fault';
import { checkFreshness, keepUntilMs } from './freshness';
import { InMemoryNonceStore, type NonceStore } from './nonce-memory';
import { readCredentials } from './read-credentials';
import { type RefusalMessage, type Rejection, refusalMessage } from './refusal';
import { type RequestLine, readRequestLine } from './request-line';
import { callSafely } from './safe-call';
import { createSignatureBase, requiredComponents, signatureParameters } from './signature-base';
import { readVerifyOptions, type VerifyOptions, type VerifySettings } from './verify-options';
import { fieldValue, type HeaderLines, type ReadBody, type RequestView, toRequestView } from './view';

export interface VerifierOptions extends VerifyOptions {
  /** Whom to trust: a source that is asked on every request, or plain values. */
  readonly allowList: AllowListSource | Parameters<typeof createAllowList>[0];
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** A request that may pass. */
export interface Accepted<R> {
  readonly ok: true;
  readonly caller: AuthMeshIdentity;
  /** The request with its body, which is verified and can be read: a view has the bytes, a `Request` is a fresh one. */
  readonly request: R;
}

/** A request that may not. */
export interface Refused {
  readonly ok: false;
  /** The precise reason; the client may see less. */
  readonly code: RejectCode;
  /** The HTTP status. */
  readonly status: number;
  /** The answer for the client; made anew at each access. */
  readonly response: Response;
  /** The same answer as plain values. */
  readonly message: RefusalMessage;
  /** Whether body bytes may still be on their way. The connection must then be closed after the answer. */
  readonly bodyUnread: boolean;
}

export interface VerifyCall {
  /** Overrides the option of the same name for one request, where a framework decides it by the peer's address. */
  readonly trustForwardedHost?: boolean | undefined;
}

export interface Verifier {
  /**
   * Verifies one request by the checks of docs/protocol.md, in their order. Never throws for anything that a
   * client can send. The same request verified again passes without a second claim of its nonce.
   */
  verify(request: Request, call?: VerifyCall): Promise<Accepted<Request> | Refused>;
  verify(
    request: RequestView,
    call?: VerifyCall,
  ): Promise<Accepted<RequestView & { body: Uint8Array }> | Refused>;
}

/**
 * A verifier with its settings checked once.
 *
 * @throws TypeError for a wrong option
 * @see docs/protocol.md, "The checks"
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { allowList, crypto = cryptoProvider, now = Date.now, ...rest } = options;
  if (typeof allowList !== 'object' || allowList === null)
    throw new TypeError('createVerifier() needs an allowList.');
  const settings = readVerifyOptions(rest);
  const list = 'current' in allowList ? null : createAllowList(allowList);
  const context: Context = {
    settings,
    crypto,
    now,
    source: list === null ? (allowList as AllowListSource) : { current: () => list },
    nonceStore: settings.nonceStore ?? new InMemoryNonceStore({ now }),
    keys: new Map(),
  };
  async function verify(request: Request | RequestView, call: VerifyCall = {}) {
    if (!isRequest(request)) return verifyView(context, request, call);
    const view = views.get(request) ?? toRequestView(request);
    views.set(request, view);
    const verdict = await verifyView(context, view, call);
    return verdict.ok ? { ...verdict, request: toFreshRequest(request, verdict.request) } : verdict;
  }
  return { verify } as Verifier;
}

interface Context {
  readonly settings: VerifySettings;
  readonly crypto: CryptoProvider;
  readonly now: () => number;
  readonly source: AllowListSource;
  readonly nonceStore: NonceStore;
  /** Imported keys by device: importing costs more than a verify. */
  readonly keys: Map<string, { readonly text: string; readonly key: PublicKey }>;
}

// Only devices of the allow list get in, so this is a bound on memory and not on trust.
const MAX_KEYS = 10_000;

// What was verified already. The claim names its nonce, so that a view that its owner changes is a new request.
const views = new WeakMap<Request, RequestView>();
const claims = new WeakMap<RequestView, Claim>();
const bodies = new WeakMap<RequestView, Uint8Array>();

interface Claim {
  readonly store: NonceStore;
  readonly deviceId: string;
  readonly nonce: string;
  /** The one before it, in another store: verifiers of several stores may take turns at a request. */
  readonly before: Claim | undefined;
}

function isRequest(request: Request | RequestView): request is Request {
  return (
    typeof (request as Request).url === 'string' && typeof (request as Request).headers?.get === 'function'
  );
}

function toFreshRequest(request: Request, view: RequestView & { body: Uint8Array }): Request {
  if (request.body === null) return request;
  // The bytes come from a view of their own, and a body of zero bytes stays a body.
  const fresh = new Request(request, { body: view.body as Uint8Array<ArrayBuffer> });
  views.set(fresh, views.get(request) as RequestView);
  return fresh;
}

async function verifyView(context: Context, view: RequestView, call: VerifyCall) {
  const { settings } = context;
  let credentials: Credentials | Fault | undefined;
  let line: RequestLine | Fault | undefined;
  let fault: Fault | null = null;
  let cause: unknown;
  let caller: AuthMeshIdentity | undefined;
  let body: Uint8Array | undefined;
  const nowMs = context.now();
  try {
    credentials = readCredentials(view.headers);
    if (credentials instanceof Fault) return refuse(credentials);
    line = readRequestLine(view, {
      authority: settings.authority,
      pathPrefix: settings.pathPrefix,
      trustForwardedHost: call.trustForwardedHost ?? settings.trustForwardedHost,
    });
    if (line instanceof Fault) return refuse(line);
    const covered = readCovered(credentials, view.headers);
    if (covered instanceof Fault) return refuse(covered);

    const reading = readAllowList(context);
    const list = reading instanceof Promise ? await reading : reading;
    fault =
      checkHost(context, view, line, list) ??
      checkFreshness(credentials, nowMs, settings, context.nonceStore.startedAt);
    if (fault !== null) return refuse(fault);
    const device = findController(list, credentials.deviceId, nowMs);
    if (device instanceof Fault) return refuse(device);

    const imported = context.keys.get(device.deviceId);
    const key = imported?.text === device.publicKey ? imported.key : await importKey(context, device);
    const checking = checkSignature(key, view, line, credentials, covered);
    fault = checking instanceof Promise ? await checking : checking;
    if (fault !== null) return refuse(fault);
    const claiming = claimNonce(context, view, credentials, nowMs);
    fault = claiming instanceof Promise ? await claiming : claiming;
    if (fault !== null) return refuse(fault);
    let bytes: Uint8Array | null | undefined = readyBody(view);
    if (bytes === undefined) {
      bytes = await readBody(context, view);
      // A body can take minutes, and a revocation counts within a second.
      const later = findController(await readAllowList(context), credentials.deviceId, context.now());
      if (later instanceof Fault) return refuse(later);
    }
    const digesting = checkBody(context, view, bytes);
    const checked = digesting instanceof Promise ? await digesting : digesting;
    if (checked instanceof Fault) return refuse(checked);
    body = checked;
    caller = {
      deviceId: device.deviceId,
      friendlyName: device.friendlyName,
      verifiedAt: Math.floor(nowMs / 1000),
    };
  } catch (error) {
    // A stranger cannot get here: only the allow list, a store or a body throws, and its code says which.
    const thrown = toFault(error);
    if (thrown === null) throw error;
    cause = error;
    return refuse(thrown);
  }
  const request = { ...view, body };
  const claim = claims.get(view);
  if (claim !== undefined) claims.set(request, claim);
  return { ok: true, caller, request } as const;

  function refuse(reason: Fault): Refused {
    const rejection = toRejection(reason, view, credentials, line, cause);
    report(settings, rejection);
    const message = refusalMessage(reason.code, nowMs);
    return {
      ok: false,
      code: reason.code,
      status: rejection.status,
      message,
      bodyUnread: typeof view.body === 'function' && !bodies.has(view),
      get response() {
        return new Response(message.body, { status: message.status, headers: message.headers });
      },
    };
  }
}

/** The end of check 2: the components that the signature covers, which have to be all that are required. */
function readCovered(credentials: Credentials, headers: HeaderLines): readonly string[] | Fault {
  const required = requiredComponents(headers, credentials.form);
  if (credentials.covered === null) return required;
  const missing = required.find((name) => !(credentials.covered as readonly string[]).includes(name));
  if (missing === undefined) return credentials.covered;
  return new Fault('component_not_covered', `The signature does not cover "${missing}".`);
}

/** Check 3. */
function checkHost(context: Context, view: RequestView, line: RequestLine, list: AllowList): Fault | null {
  const named = fieldValue(view.headers, 'authmesh-target');
  if (!answersTo(context.settings, view, line.authority, list, named)) {
    return new Fault(
      'wrong_host',
      `The request is for ${line.authority}, which is none of the hosts of this machine.`,
    );
  }
  if (named !== undefined && named !== list.deviceId) {
    return new Fault('wrong_target', 'AuthMesh-Target names another device than this one.');
  }
  return null;
}

function answersTo(
  { hosts, authority }: VerifySettings,
  view: RequestView,
  seen: string,
  list: AllowList,
  named: string | undefined,
): boolean {
  if (authority !== undefined) return true;
  if (hosts !== undefined) return hosts.has(seen);
  if (list.hosts.length > 0) return list.hosts.includes(seen);
  if (named !== undefined && named === list.deviceId) return true;
  if (!isLoopback(seen)) return false;
  const port = portOf(seen);
  const { localPort } = view;
  return (
    localPort === undefined || (port === null ? localPort === 80 || localPort === 443 : localPort === port)
  );
}

/** Checks 5 and 6. */
function findController(list: AllowList, deviceId: string, nowMs: number): TrustedDevice | Fault {
  const device = list.find(deviceId);
  if (device === undefined)
    return new Fault('unknown_device', `${deviceId} is not in the allow list: never paired, or revoked.`);
  if (device.expiresAt !== undefined && nowMs > device.expiresAt * 1000) return new Fault('device_expired');
  if (!device.roles.includes('controller')) return new Fault('role_not_allowed');
  return device;
}

/** Check 7. */
function checkSignature(
  key: PublicKey,
  view: RequestView,
  line: RequestLine,
  credentials: Credentials,
  covered: readonly string[],
): MaybePromise<Fault | null> {
  const parameters = credentials.parameters ?? signatureParameters(covered, credentials);
  const base = createSignatureBase(line, view.headers, covered, parameters);
  if (base instanceof Fault) return base;
  const verified = key.verify(credentials.signature, toSlab(base));
  return typeof verified === 'boolean' ? signatureFault(verified) : verified.then(signatureFault);
}

function signatureFault(verified: boolean): Fault | null {
  if (verified === true) return null;
  return new Fault('invalid_signature', 'The signature does not match the request as this server saw it.');
}

async function importKey(context: Context, device: TrustedDevice): Promise<PublicKey> {
  const point = fromBase64Url(device.publicKey);
  if (point === null || (await deviceIdOf(point, context.crypto)) !== device.deviceId) {
    throw new AllowListIntegrityError(`The key of ${device.deviceId} is not the one that its id stands for.`);
  }
  const key = await context.crypto.importPublicKey(point);
  if (context.keys.size >= MAX_KEYS) context.keys.delete(context.keys.keys().next().value as string);
  context.keys.set(device.deviceId, { text: device.publicKey, key });
  return key;
}

/** Check 8. */
function claimNonce(
  { nonceStore, settings }: Context,
  view: RequestView,
  { deviceId, nonce, created }: Credentials,
  nowMs: number,
): MaybePromise<Fault | null> {
  const before = claims.get(view);
  for (let claim = before; claim !== undefined; claim = claim.before) {
    if (claim.store === nonceStore && claim.deviceId === deviceId && claim.nonce === nonce) return null;
  }
  const conclude = (isNew: boolean) => {
    // Strictly true: what a store that is written wrongly says is no permission.
    if (isNew !== true) return new Fault('replay_detected');
    claims.set(view, { store: nonceStore, deviceId, nonce, before });
    return null;
  };
  try {
    const claim = nonceStore.claim(deviceId, nonce, keepUntilMs(created, nowMs, settings));
    return claim instanceof Promise ? claim.then(conclude, storeFailed) : conclude(claim);
  } catch (error) {
    return storeFailed(error);
  }
}

function storeFailed(error: unknown): never {
  throw toFault(error) === null ? new NonceStoreUnavailableError(undefined, error) : error;
}

function readAllowList({ source }: Context): MaybePromise<AllowList> {
  try {
    const list = source.current();
    return list instanceof Promise ? list.catch(listFailed) : list;
  } catch (error) {
    return listFailed(error);
  }
}

function listFailed(error: unknown): never {
  // Also for a lock that is held too long and the like: they have codes, but none that a client may see.
  throw toFault(error) === null
    ? new AmeshError('allow_list_unavailable', undefined, { cause: error })
    : error;
}

/** Check 9, of the bytes that were read; null stands for more of them than were wanted where no digest allows any. */
function checkBody(
  context: Context,
  view: RequestView,
  body: Uint8Array | null,
): MaybePromise<Uint8Array | Fault> {
  const { maxBodyBytes } = context.settings;
  const declared = fieldValue(view.headers, 'content-digest');
  if (body === null) return new Fault('content_digest_missing');
  if (body.length > maxBodyBytes)
    return new Fault('payload_too_large', `The body is larger than ${maxBodyBytes} bytes.`);
  if (declared === undefined) return body.length === 0 ? body : new Fault('content_digest_missing');
  const expected = readContentDigest(declared);
  if (expected === null)
    return new Fault('content_digest_mismatch', 'Content-Digest names no SHA-256 digest.');
  const compare = (digest: Uint8Array) =>
    equalBytes(digest, expected) ? body : new Fault('content_digest_mismatch');
  const digest = context.crypto.sha256(body);
  return digest instanceof Promise ? digest.then(compare) : compare(digest);
}

/** The bytes that need no reading. */
function readyBody(view: RequestView): Uint8Array | undefined {
  const { body } = view;
  if (body === null || body === undefined) return EMPTY;
  return typeof body === 'function' ? bodies.get(view) : body;
}

const EMPTY = new Uint8Array();

async function readBody({ settings }: Context, view: RequestView): Promise<Uint8Array | null> {
  // With no digest a single byte is too much: no need to wait for the others.
  const hasDigest = fieldValue(view.headers, 'content-digest') !== undefined;
  try {
    const bytes = await (view.body as ReadBody)(
      hasDigest ? settings.maxBodyBytes : Math.min(settings.maxBodyBytes, 1),
    );
    bodies.set(view, bytes);
    return bytes;
  } catch (error) {
    if (!isAmeshError(error)) throw new AmeshError('body_incomplete', undefined, { cause: error });
    if (!hasDigest && error.code === 'payload_too_large') return null;
    throw error;
  }
}

function toFault(error: unknown): Fault | null {
  if (!isAmeshError(error) || !('status' in CODES[error.code])) return null;
  return new Fault(error.code as RejectCode, error.message.slice(0, -error.fix.length).trim());
}

function toRejection(
  fault: Fault,
  view: RequestView,
  credentials: Credentials | Fault | undefined,
  line: RequestLine | Fault | undefined,
  cause: unknown,
): Rejection {
  const { status, cause: general } = CODES[fault.code];
  const claimed = credentials === undefined || credentials instanceof Fault ? undefined : credentials;
  const read = line === undefined || line instanceof Fault ? undefined : line;
  return {
    code: fault.code,
    status,
    message: fault.detail ?? general,
    fix: fixFor(fault.code, read, cause),
    request: {
      method: String(view.method),
      authority: read?.authority ?? String(view.authority),
      target: read === undefined ? String(view.target) : read.path + (read.query === '?' ? '' : read.query),
      deviceId: claimed?.deviceId,
      covered:
        fault.code === 'invalid_signature' && claimed
          ? (claimed.covered ?? requiredComponents(view.headers, claimed.form))
          : undefined,
    },
    ...(cause === undefined ? {} : { cause }),
  };
}

function fixFor(code: RejectCode, line: RequestLine | undefined, cause: unknown): string {
  if (isAmeshError(cause)) return cause.fix;
  if (code !== 'wrong_host' || line === undefined) return CODES[code].fix;
  return `If it is ours, run on this machine: amesh config hosts ${line.authority}`;
}

function report(settings: VerifySettings, rejection: Rejection): void {
  const { onReject } = settings;
  // A request must not decide whether the user's own logging stops the server, and the refusal stands.
  if (onReject !== undefined) callSafely(() => onReject(rejection));
}
