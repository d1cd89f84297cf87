import { cryptoProvider } from '#crypto';
import { createExplain } from '#hints';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import {
  type AllowList,
  type AllowListSource,
  type createAllowList,
  type TrustedDevice,
  toSource,
} from '../devices/allow-list';
import { callSafely } from '../errors/call-safely';
import type { RejectCode } from '../errors/code-names';
import { Fault, malformed, toFault } from '../errors/fault';
import { InMemoryNonceStore } from '../nonces/memory';
import type { NonceStore } from '../nonces/nonce-store';
import type { Credentials } from '../wire/credentials';
import { toFreshRequest } from '../wire/fresh-request';
import { changed, isAmbiguous, type RequestLine, readRequestLine } from '../wire/line';
import { fieldValue, isRequest, type RequestView, sourceOf, standFor, toRequestView } from '../wire/view';
import { checkBody, readBody, readyBody } from './body';
import type { AuthMeshIdentity } from './caller';
import { findController, readAllowList } from './device';
import type { Enroller } from './enroller';
import { checkFreshness } from './freshness';
import { checkHost } from './host';
import { KeyCache } from './key-cache';
import { claimNonce, isClaimed, shareClaims } from './nonce';
import { readVerifyOptions, type VerifyOptions, type VerifySettings } from './options';
import { readCredentials } from './read';
import { answerMessage, type RefusalMessage, refusalMessage } from './refusal';
import { toRejection } from './rejection';
import { checkSignature, readCovered } from './signature';
import { type BodyStream, streamBody } from './stream-body';

/** How a verifier of your own verifies: as `verify()` does, with a list that you bring. */
export interface VerifierOptions extends VerifyOptions {
  /** Whom to trust: a source that is asked on every request, a list of `createAllowList()`, or its values. */
  readonly allowList: AllowListSource | Parameters<typeof createAllowList>[0];
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** Answers enrolments where `enroll` is on. */
  readonly enroller?: Enroller | undefined;
  /** Told of each request that may pass. */
  readonly onAccept?: ((acceptance: Acceptance) => MaybePromise<AnswerHeaders | undefined>) | undefined;
}

/** Headers by lower-case name. */
export type AnswerHeaders = Readonly<Record<string, string>>;

/** A request that may pass, for whoever keeps the books. What `onAccept` gives goes out with the answer. */
export interface Acceptance {
  /** As the allow list has it. */
  readonly device: TrustedDevice;
  /** Of this request, 22 characters. */
  readonly nonce: string;
  /** As it was signed, in normal form. */
  readonly authority: string;
  /** By which the device was let in. */
  readonly list: AllowList;
  /** Whether the caller names this very device in AuthMesh-Target. */
  readonly isNamed: boolean;
}

/** A request that may pass. */
export interface Accepted<R> {
  /** True: an acceptance. */
  readonly ok: true;
  /** The device that has signed the request. */
  readonly caller: AuthMeshIdentity;
  /** What the answer has to carry besides; often absent. */
  readonly headers?: AnswerHeaders | undefined;
  /**
   * The request with its body, which is verified and can be read: a view with the bytes, or the `Request` itself. A fresh
   * `Request` takes its place where the body was read already, or comes as a `stream`; it shows what was on the first.
   */
  readonly request: R;
  /**
   * Only with `streamUnverifiedBody`, where the body is not verified yet: the stream to read, which a `Request` has as
   * its body already, or null where that is the transport's own. A view then has no bytes.
   */
  readonly stream?: BodyStream | undefined;
}

/** A request that goes no further. */
export interface Refused {
  /** False: a refusal, or the answer to an enrolment. */
  readonly ok: false;
  /** The precise reason; the client may see less. `answered` for an enrolment that was taken: it is done with. */
  readonly code: RejectCode | 'answered';
  /** The HTTP status. */
  readonly status: number;
  /** The answer for the client; made anew at each access. */
  readonly response: Response;
  /** The same answer as plain values. */
  readonly message: RefusalMessage;
  /** Whether body bytes may still be on their way. The connection must then be closed after the answer. */
  readonly bodyUnread: boolean;
}

/** What a framework knows of one request besides. */
export interface VerifyCall {
  /** Overrides the option of the same name for one request, where a framework decides it by the peer's address. */
  readonly trustForwardedHost?: boolean | undefined;
  /** For a `Request`, which does not say it: the port on which this server took the connection. */
  readonly localPort?: number | undefined;
}

/** Lets requests through, or says why not. Made once, and asked for each request. */
export interface Verifier {
  /**
   * Verifies one request by the checks of docs/protocol.md, in their order. Never throws for anything that a
   * client can send. The same request verified again passes without a second claim of its nonce.
   */
  verify(request: Request, call?: VerifyCall): Promise<Accepted<Request> | Refused>;
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
  >;
}

/**
 * A verifier with its settings checked once.
 *
 * @throws TypeError for a wrong option
 * @see docs/protocol.md, "The checks"
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { allowList, crypto = cryptoProvider, now = Date.now, enroller, onAccept, ...rest } = options;
  const source = toSource(allowList);
  const settings = readVerifyOptions(rest);
  if (settings.enroll && enroller === undefined)
    throw new TypeError('enroll needs an instance of createAmesh().');
  const context: Context = {
    settings,
    crypto,
    now,
    source,
    nonceStore: settings.nonceStore ?? new InMemoryNonceStore({ now }),
    keys: new KeyCache(crypto),
    enroller: settings.enroll ? enroller : undefined,
    onAccept,
    explain: createExplain(allowList),
  };
  // Told before the first request, since others that share the store may be claiming already.
  context.nonceStore.widestSkew?.(settings.clockSkewSeconds, now());
  async function verify(request: Request | RequestView, call: VerifyCall = {}) {
    if (!isRequest(request)) return verifyView(context, request, call);
    const view = { ...toRequestView(request), localPort: call.localPort };
    const verdict = await verifyView(context, view, call);
    if (!verdict.ok) return verdict;
    if (request.body === null) return { ...verdict, request };
    const { stream } = verdict;
    if (!stream && !request.bodyUsed) return { ...verdict, request };
    const fresh = toFreshRequest(request, stream ?? verdict.request.body);
    // Whoever verifies a stream again reads, and checks, what comes through its gate.
    if (stream) shareClaims(view, toRequestView(fresh));
    else standFor(fresh, view);
    return { ...verdict, request: fresh };
  }
  return { verify } as Verifier;
}

interface Context {
  readonly settings: VerifySettings;
  readonly crypto: CryptoProvider;
  readonly now: () => number;
  readonly source: AllowListSource;
  readonly nonceStore: NonceStore;
  readonly keys: KeyCache;
  readonly enroller: Enroller | undefined;
  readonly onAccept: VerifierOptions['onAccept'];
  /** Undefined where bytes count more than what the log says. */
  readonly explain: ReturnType<typeof createExplain> | undefined;
}

/** The checks of docs/protocol.md in their order. Each waits only where it has to: most need no other turn. */
async function verifyView(context: Context, view: RequestView, call: VerifyCall) {
  const { settings, source, nonceStore, crypto } = context;
  const { headers } = view;
  const nowMs = context.now();
  let credentials: Credentials | Fault | undefined;
  let line: RequestLine | Fault | undefined;
  const readLine = () =>
    readRequestLine(view, {
      authority: settings.authority,
      pathPrefix: settings.pathPrefix,
      trustForwardedHost: call.trustForwardedHost ?? settings.trustForwardedHost,
    });
  try {
    if (context.enroller?.matches(view)) {
      line = readLine();
      if (line instanceof Fault) return refuse(line);
      const stray = checkHost(settings, view, line, await readAllowList(source));
      if (stray !== null) return refuse(stray);
      const { authority } = line;
      const { now, enroller } = context;
      return answer(await enroller.answer({ view, authority, now, settings, nonceStore }));
    }
    credentials = readCredentials(headers);
    if (credentials instanceof Fault) return refuse(credentials);
    line = readLine();
    if (line instanceof Fault) return refuse(line);
    const covered = readCovered(credentials, headers);
    if (covered instanceof Fault) return refuse(covered);

    const reading = readAllowList(source);
    const list = reading instanceof Promise ? await reading : reading;
    const early =
      checkHost(settings, view, line, list) ??
      checkFreshness(credentials, nowMs, settings, nonceStore.startedAt);
    if (early !== null) return refuse(early);
    const device = findController(list, credentials.deviceId, nowMs);
    if (device instanceof Fault) return refuse(device);

    const importing = context.keys.keyOf(device);
    const key = importing instanceof Promise ? await importing : importing;
    const checking = checkSignature(key, line, headers, credentials, covered);
    let wrong = checking instanceof Promise ? await checking : checking;
    if (wrong !== null && view.hidesApostrophe && line.query.includes('%27')) {
      const query = line.query.replaceAll('%27', "'");
      wrong = await checkSignature(key, { ...line, query }, headers, credentials, covered);
    }
    if (wrong !== null) {
      if (isClaimed(view)) return refuse(changed('request'));
      const attempt = (other: RequestLine) =>
        checkSignature(key, other, headers, credentials as Credentials, covered);
      return refuse((await context.explain?.(attempt, line, view, settings.hosts ?? list.hosts)) ?? wrong);
    }
    // Who makes a view by hand knows who reads its path.
    if (view.source !== undefined && isAmbiguous(line.path))
      return refuse(malformed('The path has a dot segment or a backslash.'));
    const claiming = claimNonce(nonceStore, view, credentials, nowMs, settings);
    const replayed = claiming instanceof Promise ? await claiming : claiming;
    if (replayed !== null) return refuse(replayed);

    const { deviceId, friendlyName } = device;
    const caller: AuthMeshIdentity = { deviceId, friendlyName, verifiedAt: Math.floor(nowMs / 1000) };
    let bytes: Uint8Array | null | undefined = readyBody(view);
    if (bytes === undefined) {
      // A body can take minutes, and a revocation counts within a second.
      const recheck = async () => {
        const later = findController(await readAllowList(source), deviceId, context.now());
        return later instanceof Fault ? later : null;
      };
      if (settings.streamsBody) {
        const { maxBodyBytes } = settings;
        const stream = await streamBody(view, { maxBodyBytes, crypto, recheck, report: refuse });
        if (stream instanceof Fault) return refuse(stream);
        if (stream !== undefined) {
          const more = await context.onAccept?.(accepted(device, credentials, line, list));
          const request = { ...view, body: new Uint8Array() };
          return { ok: true, caller, headers: more, request, stream } as const;
        }
      }
      bytes = await readBody(view, settings.maxBodyBytes);
      const later = await recheck();
      if (later !== null) return refuse(later);
    }
    const digesting = checkBody(view, bytes, settings.maxBodyBytes, crypto);
    const body = digesting instanceof Promise ? await digesting : digesting;
    if (body instanceof Fault) return refuse(body);

    const request = { ...view, body, source: sourceOf(view) };
    const telling = context.onAccept?.(accepted(device, credentials, line, list));
    const more = telling instanceof Promise ? await telling : telling;
    return { ok: true, caller, headers: more, request } as const;
  } catch (error) {
    // A stranger cannot get here: only the allow list, a store or a body throws, and its code says which.
    const thrown = toFault(error);
    if (thrown === null) throw error;
    return refuse(thrown, error);
  }

  function accepted(
    device: TrustedDevice,
    { nonce }: Credentials,
    { authority }: RequestLine,
    list: AllowList,
  ): Acceptance {
    const isNamed = list.deviceId !== null && fieldValue(headers, 'authmesh-target') === list.deviceId;
    return { device, nonce, authority, list, isNamed };
  }

  function answer(value: object): Refused {
    return conclude('answered', answerMessage(value), false);
  }

  function refuse(fault: Fault, cause?: unknown): Refused {
    const rejection = toRejection(fault, view, credentials, line, cause, nowMs);
    const { onReject } = settings;
    // A request must not decide whether the user's own logging stops the server, and the refusal stands.
    if (onReject !== undefined) callSafely(() => onReject(rejection));
    const bodyUnread = typeof view.body === 'function' && readyBody(view) === undefined;
    return conclude(fault.code, refusalMessage(fault.facts, nowMs), bodyUnread);
  }
}

function conclude(code: Refused['code'], message: RefusalMessage, bodyUnread: boolean): Refused {
  return {
    ok: false,
    code,
    status: message.status,
    message,
    bodyUnread,
    get response() {
      return new Response(message.body, { status: message.status, headers: message.headers });
    },
  };
}
