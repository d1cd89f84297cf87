import { cryptoProvider } from '#crypto';
import type { CryptoProvider, MaybePromise, Signer } from '../crypto/provider';
import { toBase64Url } from '../encoding';
import { assertOptionNames } from '../options';
import { normalizeAuthority } from '../wire/authority';
import { throwIfAborted, untilAborted } from './abort';
import { noteAnswer } from './answered';
import { ServerClocks } from './clock';
import { openOnce } from './open-signer';
import { type Outgoing, toOutgoing, toView } from './outgoing';
import { followRedirect, isRedirect } from './redirect';
import { type ClientRefusal, explainRefusal, refusalOf } from './refusal';
import { discard, send, withoutRepeat } from './send';
import { DEFAULT_SIGN_BODY_BYTES, type SignatureFormat, signatureHeaders } from './sign-request';

/** Whose key a client signs with, and how. All but the signer may be left out; a wrong option is a TypeError. */
export interface ClientOptions {
  /** Whose key signs: a signer, or a function that opens it at the first request; it is asked once. */
  readonly signer: Signer | (() => MaybePromise<Signer>);
  /** How signatures travel; default `authmesh`. */
  readonly format?: SignatureFormat | undefined;
  /** The deviceId of the target that an authority belongs to, to be named in AuthMesh-Target. */
  readonly targetOf?: ((authority: string) => MaybePromise<string | undefined>) | undefined;
  /** The `fetch` that sends; default the global one, looked up at each request. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * The most bytes of a streaming body that are buffered to hash them; default 10,485,760 (10 MiB). The body of a
   * `Request` is a stream too.
   */
  readonly maxBufferedBytes?: number | undefined;
  /** Told, with cause and fix, when an amesh server refuses a request. The response is returned all the same. */
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

/** What signs and sends. */
export interface Client {
  /**
   * `fetch`, signing. Every option passes through; streams are buffered to `maxBufferedBytes`; a `Host` or
   * `Content-Digest` header is dropped, the second in favour of ours. Only with a stream it is taken as it is, if it
   * has a `sha-256` member, and the stream is then sent while it comes: once, so that a clock is not corrected for it.
   *
   * Redirects are followed here, since a signature is for one URL only. Options that no property of a `Request`
   * shows, such as Node's `dispatcher`, hold for its own URL; where redirects are expected give them in `init`.
   *
   * @throws AmeshError `redirect_refused`, `clock_skew_too_large`, `payload_too_large`, and what opening the signer
   *   throws; whatever `fetch` throws
   * @see docs/protocol.md, "The client"
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

/** A request that was taken over from its caller and can be sent. */
export interface PreparedRequest {
  /** Without fragment. */
  readonly url: URL;
  /** Whether it can be sent a second time: a stream with a Content-Digest of the caller is gone after the first. */
  readonly isRepeatable: boolean;
  /** Signs it anew and sends it, with the same bytes each time. Throws as {@link Client.fetch}. */
  send(): Promise<Response>;
}

/**
 * A client with a key of its own.
 *
 * @throws TypeError for a wrong option
 */
export function createClient(options: ClientOptions): Client {
  const prepare = createPreparer(options);
  return { fetch: async (input, init) => (await prepare(input, init)).send() };
}

/**
 * What {@link createClient} stands on, for whoever may have to send a request more than once.
 *
 * @returns a function of the arguments of `fetch`, which the caller may change once it was called
 * @throws TypeError for a wrong option
 */
export function createPreparer(
  options: ClientOptions,
): (input: string | URL | Request, init?: RequestInit) => Promise<PreparedRequest> {
  const { signer, format, targetOf, maxBufferedBytes, onRefusal, crypto, now, sender } = readOptions(options);
  const open = openOnce(signer);
  const clocks = new ServerClocks(now);
  const doFetch: typeof globalThis.fetch = (input, init) => (sender ?? globalThis.fetch)(input, init);

  async function sign(request: Outgoing, nonce: string, offsetMs?: number): Promise<Headers> {
    const opened = await open();
    const targetDeviceId = (await targetOf?.(request.url.host)) ?? undefined;
    throwIfAborted(request.signal); // a key may ask somebody to touch it
    const added = await signatureHeaders(toView(request), request.bytes, opened, {
      format,
      targetDeviceId,
      nonce,
      created: clocks.seconds(request.url.origin, offsetMs), // not earlier: opening a key can take its time
      crypto,
    });
    const headers = new Headers(request.headers);
    for (const [name, value] of Object.entries(added)) headers.set(name, value);
    return headers;
  }

  async function sendOnce(request: Outgoing, offsetMs?: number): Promise<Response> {
    const nonce = toBase64Url(crypto.randomBytes(16));
    const headers = await untilAborted(request.signal, sign(request, nonce, offsetMs));
    let response: Response;
    try {
      response = await send(doFetch, request, headers);
    } catch (error) {
      const again = withoutRepeat(request, error);
      if (again === null) throw error;
      return sendOnce(again, offsetMs);
    }
    const target = headers.get('authmesh-target') ?? undefined;
    noteAnswer(response, { nonce, authority: normalizeAuthority(request.url.host) ?? '', target });
    return response;
  }

  async function sendSigned(request: Outgoing): Promise<Response> {
    const { url } = request;
    const response = await sendOnce(request);
    if (refusalOf(response) !== 'timestamp_out_of_range' || !clocks.mayCorrect(url, response)) {
      clocks.confirm(url, response);
      return response;
    }
    if (request.stream === null) await discard(response);
    const offsetMs = clocks.correct(url, response);
    if (request.stream !== null) return response; // it cannot be sent again, but later ones have the right time
    return sendOnce(request, offsetMs);
  }

  async function sendAll(first: Outgoing): Promise<Response> {
    let request = first;
    let signed = true;
    let response = await sendSigned(request);
    for (let hops = 0; request.redirect === 'follow' && isRedirect(response); hops++) {
      await discard(response);
      const next = followRedirect(request, response, { signed, hops });
      request = next.request;
      signed = next.signed;
      response = await (signed ? sendSigned(request) : send(doFetch, request, request.headers));
      Object.defineProperty(response, 'redirected', { value: true });
    }
    if (onRefusal !== undefined) {
      const mayRepeat = sender !== undefined || 'dispatcher' in first.options;
      explainRefusal(request.url, response, { signed, mayRepeat, nowMs: now() }, onRefusal);
    }
    return response;
  }

  return async (input, init) => {
    const request = await toOutgoing(input, init, maxBufferedBytes, sender === undefined);
    return { url: request.url, isRepeatable: request.stream === null, send: () => sendAll(request) };
  };
}

function readOptions(options: ClientOptions) {
  assertOptionNames('createClient()', options, NAMES);
  const {
    format = 'authmesh',
    maxBufferedBytes = DEFAULT_SIGN_BODY_BYTES,
    crypto = cryptoProvider,
    now = Date.now,
  } = options;
  const { signer, targetOf, onRefusal, fetch: sender } = options;
  if (format !== 'authmesh' && format !== 'rfc9421')
    throw new TypeError('format is "authmesh" or "rfc9421".');
  if (
    typeof signer !== 'function' &&
    !(typeof signer?.sign === 'function' && signer.publicKey?.length === 33)
  )
    throw new TypeError('createClient() needs a signer.');
  if (!Number.isSafeInteger(maxBufferedBytes) || maxBufferedBytes < 0)
    throw new TypeError('maxBufferedBytes is a whole number of bytes.');
  for (const [name, value] of Object.entries({ targetOf, fetch: sender, onRefusal, now })) {
    if (value !== undefined && typeof value !== 'function') throw new TypeError(`${name} is a function.`);
  }
  if (typeof crypto.randomBytes !== 'function') throw new TypeError('crypto is a CryptoProvider.');
  return { signer, format, targetOf, maxBufferedBytes, onRefusal, crypto, now, sender };
}
