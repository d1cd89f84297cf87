import { cryptoProvider } from '#crypto';
import type { CryptoProvider, MaybePromise, Signer } from '../crypto/provider';
import { DEFAULT_SIGN_BODY_BYTES, type SignatureFormat, signatureHeaders } from '../sign';
import { assertOptionNames } from '../verify-options';
import type { RequestView } from '../view';
import { encodeBody } from './body';
import { ServerClocks } from './clock';
import { followRedirect, isRedirect } from './redirect';
import { type ClientRejection, explainRefusal, refusalOf } from './refusal';

export interface ClientOptions {
  /** Whose key signs: a signer, or a function that opens it at the first request; it is asked once. */
  readonly signer: Signer | (() => MaybePromise<Signer>);
  /** How signatures travel; default `authmesh`. */
  readonly format?: SignatureFormat | undefined;
  /** The deviceId of the target that an authority belongs to, to be named in AuthMesh-Target. */
  readonly targetOf?: ((authority: string) => MaybePromise<string | undefined>) | undefined;
  /** The `fetch` that sends; default the global one, looked up at each request. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** The most bytes of a streaming body that are buffered to hash them; default 10,485,760 (10 MiB). */
  readonly maxBodyBytes?: number | undefined;
  /** Told, with cause and fix, when an amesh server refuses a request. The response is returned all the same. */
  readonly onReject?: ((rejection: ClientRejection) => void) | undefined;
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
  'maxBodyBytes',
  'onReject',
  'crypto',
  'now',
]);

export interface Client {
  /**
   * `fetch`, signing. Every option passes through; streams are buffered to `maxBodyBytes`; a `Host` header is dropped.
   * Redirects are followed here, since a signature is for one URL only.
   *
   * @throws AmeshError `redirect_refused`, `clock_skew_too_large`, `payload_too_large`, and what opening the signer
   *   throws; whatever `fetch` throws
   * @see docs/protocol.md, "The client"
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
}

/**
 * A client with a key of its own.
 *
 * @throws TypeError for a wrong option
 */
export function createClient(options: ClientOptions): Client {
  assertOptionNames('createClient()', options, NAMES);
  const {
    signer,
    format = 'authmesh',
    targetOf,
    maxBodyBytes = DEFAULT_SIGN_BODY_BYTES,
    onReject,
    crypto = cryptoProvider,
    now = Date.now,
  } = options;
  if (format !== 'authmesh' && format !== 'rfc9421')
    throw new TypeError('format is "authmesh" or "rfc9421".');
  if (typeof signer !== 'function' && typeof signer?.sign !== 'function')
    throw new TypeError('createClient() needs a signer.');
  if (!Number.isSafeInteger(maxBodyBytes) || maxBodyBytes < 0)
    throw new TypeError('maxBodyBytes is a whole number of bytes.');
  const clocks = new ServerClocks(now);
  let opened: MaybePromise<Signer> | undefined;

  function open(): MaybePromise<Signer> {
    if (typeof signer !== 'function') return signer;
    if (opened === undefined) {
      const opening = Promise.resolve(signer());
      opened = opening;
      opening.then(
        (value) => {
          opened = value;
        },
        () => {
          opened = undefined; // the next request may find what this one lacked
        },
      );
    }
    return opened;
  }

  async function sign(request: Outgoing, created: number): Promise<Headers> {
    const authority = request.url.host;
    const headers = new Headers(request.headers);
    const view = toView(request);
    const added = await signatureHeaders(view, request.bytes, await open(), {
      format,
      targetDeviceId: (await targetOf?.(authority)) ?? undefined,
      created,
      crypto,
    });
    for (const [name, value] of Object.entries(added)) headers.set(name, value);
    return headers;
  }

  async function send(request: Outgoing, headers: Headers): Promise<Response> {
    const doFetch = options.fetch ?? globalThis.fetch;
    const { base, init, method, bytes, url } = request;
    const own = {
      ...init,
      method,
      headers,
      body: bytes,
      redirect: request.redirect === 'error' ? 'error' : 'manual',
    } as RequestInit;
    delete (own as { duplex?: string }).duplex;
    return doFetch(
      base === null ? url : new Request(url, new Request(base, own)),
      base === null ? own : undefined,
    );
  }

  async function sendSigned(request: Outgoing): Promise<Response> {
    const origin = request.url.origin;
    const response = await send(request, await sign(request, clocks.seconds(origin)));
    const refusal = refusalOf(response);
    if (refusal !== 'timestamp_out_of_range') return response;
    const created = clocks.correct(request.url, response);
    if (created === null) return response;
    await response.body?.cancel();
    return send(request, await sign(request, created));
  }

  return {
    async fetch(input, init) {
      let request = await toOutgoing(input, init, maxBodyBytes);
      let signed = true;
      let response = await sendSigned(request);
      for (let hops = 0; request.redirect === 'follow' && isRedirect(response); hops++) {
        const next = followRedirect(request, response, { signed, hops });
        await response.body?.cancel();
        request = next.request;
        signed = next.signed;
        response = signed ? await sendSigned(request) : await send(request, request.headers);
        Object.defineProperty(response, 'redirected', { value: true });
      }
      explainRefusal(request.url, response, onReject);
      return response;
    },
  };
}

/** A request on its way: what `fetch` was given, with the body as bytes. */
export interface Outgoing {
  readonly url: URL;
  readonly method: string;
  /** Without those of the signature. */
  readonly headers: Headers;
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  readonly redirect: RequestRedirect;
  /** The user's own `Request`, which may carry options that no property shows. */
  readonly base: Request | null;
  readonly init: RequestInit;
}

// Methods that the Fetch standard writes in upper case; all others stay as they are.
const UPPER = /^(?:delete|get|head|options|post|put)$/i;

async function toOutgoing(
  input: string | URL | Request,
  init: RequestInit = {},
  maxBodyBytes: number,
): Promise<Outgoing> {
  const base = input instanceof Request ? input : null;
  const url = new URL(
    base === null ? String(input) : base.url,
    base === null ? globalThis.location?.href : undefined,
  );
  const method = init.method ?? base?.method ?? 'GET';
  const headers = new Headers(init.headers ?? base?.headers);
  headers.delete('host'); // ignored by some runtimes and sent by others; the URL says it
  url.hash = '';

  const given = init.body ?? null;
  const { bytes, contentType } = await encodeBody(given ?? base?.body, maxBodyBytes);
  // A Request has named its content-type itself; for a body given here it is ours to name.
  if (given !== null && contentType !== null && !headers.has('content-type'))
    headers.set('content-type', contentType);
  return {
    url,
    method: UPPER.test(method) ? method.toUpperCase() : method,
    headers,
    bytes,
    redirect: init.redirect ?? base?.redirect ?? 'follow',
    base,
    init,
  };
}

function toView({ url, method, headers }: Outgoing): RequestView {
  const record: Record<string, string> = Object.create(null);
  for (const [name, value] of headers) record[name] = value;
  return { method, target: url.pathname + url.search, authority: url.host, headers: record };
}
