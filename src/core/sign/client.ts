import { clientCrypto } from '#crypto';
import type { CryptoProvider, MaybePromise, RequestSigner, Signer } from '../crypto/provider';
import { toBase64Url } from '../encoding';
import { callSafely } from '../errors/call-safely';
import { assertOptionNames } from '../options';
import type { DelegatedSigner } from '../statements/delegated-signer';
import { normalizeAuthority } from '../wire/authority';
import { throwIfAborted, untilAborted } from './abort';
import { noteAnswer } from './answered';
import { ServerClocks } from './clock';
import { openOnce } from './open-signer';
import { type Outgoing, toOutgoing, toView } from './outgoing';
import { followRedirect, isRedirect } from './redirect';
import { type ClientRefusal, explainRefusal, refusalOf } from './refusal';
import { discard, send, withoutRepeat } from './send';
import { DEFAULT_SIGN_BODY_BYTES, idOf, type SignatureFormat, signParts } from './sign-request';

/** How a client signs and sends. Only the signer is required; a wrong option is a TypeError. */
export interface ClientOptions {
  /** The signer, or a function that opens it. The function is called at the first request, and again only after a failure. */
  readonly signer: Signer | (() => MaybePromise<Signer>);
  /** The header format of signatures; default `authmesh`. */
  readonly format?: SignatureFormat | undefined;
  /** Returns the device ID of the target that has an authority, to be sent as AuthMesh-Target. */
  readonly targetOf?: ((authority: string) => MaybePromise<string | undefined>) | undefined;
  /** The `fetch` that sends; default the global one, looked up for each request. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * The largest streaming body that is buffered for hashing, in bytes; default 10,485,760 (10 MiB). The body of a
   * `Request` is a stream, too.
   */
  readonly maxBufferedBytes?: number | undefined;
  /** Called with cause and fix when an amesh server refuses a request. `fetch` still returns the response. */
  readonly onRefusal?: ((refusal: ClientRefusal) => void) | undefined;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof ClientOptions>([
  'signer',
  'format',
  'targetOf',
  'fetch',
  'maxBufferedBytes',
  'onRefusal',
  'crypto',
  'now',
]);

/** Signs and sends requests. */
export interface Client {
  /**
   * `fetch`, with signatures. All options are passed on. Streams are buffered up to `maxBufferedBytes`. A `Host` or
   * `Content-Digest` header is dropped, and replaced with the right one. Exception: for a stream with a `Content-Digest`
   * that has a `sha-256` member, that header is kept, and the stream is sent while it arrives. Such a request is sent only
   * once, also if the clock was wrong.
   *
   * `fetch` follows redirects itself, since a signature is valid for one URL only. Options that no property of a `Request`
   * shows, such as Node's `dispatcher`, apply only to its own URL: if you expect redirects, pass them in `init`.
   *
   * @throws AmeshError `redirect_refused`, `clock_skew_too_large`, `payload_too_large`; what opening the signer throws;
   *   what the underlying `fetch` throws
   * @see docs/protocol.md, "The client"
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

/** A request that is ready to be signed and sent. */
export interface PreparedRequest {
  /** Without its fragment. */
  readonly url: URL;
  /** Whether it can be sent again: a stream with the caller's own Content-Digest is used up after the first time. */
  readonly isRepeatable: boolean;
  /** Signs the request and sends it, with the same bytes each time. Throws like {@link Client.fetch}. */
  send(): Promise<Response>;
}

/**
 * Creates a client with its own key.
 *
 * @throws TypeError for a wrong option
 */
export function createClient(options: ClientOptions): Client {
  const prepare = createPreparer(options);
  return { fetch: async (input, init) => (await prepare(input, init)).send() };
}

/**
 * The base of {@link createClient}, for callers that may have to send a request more than once.
 *
 * @returns a function with the arguments of `fetch`; the caller may change them after the call
 * @throws TypeError for a wrong option
 */
export function createPreparer(
  options: ClientOptions,
): (input: string | URL | Request, init?: RequestInit) => Promise<PreparedRequest> {
  const settings = readOptions(options);
  return async (input, init) => {
    const request = await toOutgoing(input, init, settings.maxBufferedBytes, settings.fetch === undefined);
    return {
      url: request.url,
      isRepeatable: request.stream === null,
      send: () => sendAll(settings, request),
    };
  };
}

/** Sends a request and follows redirects. */
async function sendAll(settings: Settings, first: Outgoing): Promise<Response> {
  let request = first;
  let signed = true;
  let response = await sendSigned(settings, request);
  for (let hops = 0; request.redirect === 'follow' && isRedirect(response); hops++) {
    await discard(response);
    const next = followRedirect(request, response, { signed, hops });
    request = next.request;
    signed = next.signed;
    response = await (signed
      ? sendSigned(settings, request)
      : send(settings.doFetch, request, request.headers));
    Object.defineProperty(response, 'redirected', { value: true });
  }
  const { onRefusal, fetch, now, open, crypto } = settings;
  if (onRefusal !== undefined) {
    const signer = await open();
    const { delegation } = signer as Partial<DelegatedSigner>;
    const sent = {
      signed,
      fetch,
      options: first.options,
      nowMs: now(),
      isDelegate: delegation !== undefined,
    };
    // Not by requestSigner(): it may have ended meanwhile, or need a new signature of the device.
    const ownId = async () => delegation?.deviceId ?? idOf(signer, crypto);
    await explainRefusal(request.url, response, { ...sent, ownId }, onRefusal);
  }
  return response;
}

/** Sends a request, and once more with a corrected clock if the server refused its time. */
async function sendSigned(settings: Settings, request: Outgoing): Promise<Response> {
  const { clocks } = settings;
  const { url } = request;
  const response = await sendOnce(settings, request);
  if (refusalOf(response) !== 'timestamp_out_of_range' || !clocks.mayCorrect(url, response)) {
    clocks.confirm(url, response);
    return response;
  }
  if (request.stream === null) await discard(response);
  const offsetMs = clocks.correct(url, response);
  if (request.stream !== null) return response; // cannot be sent again, but later requests have the right time
  return sendOnce(settings, request, offsetMs);
}

async function sendOnce(settings: Settings, request: Outgoing, offsetMs?: number): Promise<Response> {
  const nonce = toBase64Url(settings.crypto.randomBytes(16));
  const signing = sign(settings, request, nonce, offsetMs);
  const { headers, worker } = await untilAborted(request.signal, signing);
  let response: Response;
  try {
    response = await send(settings.doFetch, request, headers);
  } catch (error) {
    const again = withoutRepeat(request, error);
    if (again === null) throw error;
    return sendOnce(settings, again, offsetMs);
  }
  if (refusalOf(response) === 'unauthorized') callSafely(() => worker?.refused?.(), 'refused');
  const target = headers.get('authmesh-target') ?? undefined;
  noteAnswer(response, { nonce, authority: normalizeAuthority(request.url.host) ?? '', target });
  return response;
}

async function sign(
  { open, targetOf, clocks, format, crypto }: Settings,
  request: Outgoing,
  nonce: string,
  offsetMs?: number,
): Promise<{ headers: Headers; worker: RequestSigner | undefined }> {
  const opened = await open();
  const targetDeviceId = (await targetOf?.(request.url.host)) ?? undefined;
  // Now: the time of the signature is read below, and a new working key can take long.
  const worker = await opened.requestSigner?.();
  const signer = worker === undefined ? opened : signerOf(worker);
  throwIfAborted(request.signal); // a key may wait for somebody's touch
  const { added } = await signParts(toView(request), request.bytes, signer, {
    format,
    targetDeviceId,
    nonce,
    created: clocks.seconds(request.url.origin, offsetMs), // not earlier: opening a key can be slow
    crypto,
  });
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  return { headers, worker };
}

/** A signer with just this working key. Its own may be another one a moment later. */
function signerOf(worker: RequestSigner): Signer {
  return {
    publicKey: worker.publicKey,
    sign: (message) => worker.sign(message),
    requestSigner: () => worker,
  };
}

/** The checked options of a client, and what its requests share: the opened key, and the clocks of the servers. */
type Settings = ReturnType<typeof readOptions>;

function readOptions(options: ClientOptions) {
  assertOptionNames('createClient()', options, NAMES);
  const {
    format = 'authmesh',
    maxBufferedBytes = DEFAULT_SIGN_BODY_BYTES,
    crypto = clientCrypto,
    now = Date.now,
  } = options;
  const { signer, targetOf, onRefusal, fetch } = options;
  if (format !== 'authmesh' && format !== 'rfc9421')
    throw new TypeError('format must be "authmesh" or "rfc9421".');
  if (
    typeof signer !== 'function' &&
    !(typeof signer?.sign === 'function' && signer.publicKey?.length === 33)
  )
    throw new TypeError('createClient() needs a signer.');
  if (!Number.isSafeInteger(maxBufferedBytes) || maxBufferedBytes < 0)
    throw new TypeError('maxBufferedBytes must be a whole number of bytes.');
  for (const [name, value] of Object.entries({ targetOf, fetch, onRefusal, now })) {
    if (value !== undefined && typeof value !== 'function')
      throw new TypeError(`${name} must be a function.`);
  }
  if (typeof crypto.randomBytes !== 'function') throw new TypeError('crypto must be a CryptoProvider.');
  const open = openOnce(signer);
  const clocks = new ServerClocks(now);
  const doFetch: typeof globalThis.fetch = (input, init) => (fetch ?? globalThis.fetch)(input, init);
  return { format, targetOf, maxBufferedBytes, onRefusal, crypto, now, fetch, open, clocks, doFetch };
}
