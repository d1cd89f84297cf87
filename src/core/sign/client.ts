import { counted } from '#gather';
import { type AmeshFetchInit, type AnswerOptions, readAnswerOptions } from '../answers/asking';
import { provenHead } from '../answers/proven-by';
import { RedirectRefusedError } from '../errors/amesh-error';
import { isSafe } from '../wire/line';
import { resendOf, sendInstead } from './exchange';
import { type ClientOptions, readOptions, type Settings } from './options';
import { type Outgoing, releasing, toOutgoing } from './outgoing/outgoing';
import { tellAnswer } from './prove';
import { followRedirect, isRedirect } from './redirect';
import { discard, send } from './send';
import { sendSigned } from './send-signed';

/** Signs and sends requests. */
export interface Client {
  /**
   * `fetch`, with signatures. All options are passed on. Streams are buffered up to `maxBufferedBytes`. A `Host` or
   * `Content-Digest` header is dropped, and replaced with the right one. Exception: for a stream with a `Content-Digest` that has a
   * `sha-256` member, that header is kept, and the stream is sent while it arrives. Such a request is sent only once, even if the
   * clock was wrong.
   *
   * `fetch` follows redirects itself, since a signature is valid for one URL only. Options that no property of a `Request`
   * shows, such as Node's `dispatcher`, apply only to its own URL: if you expect redirects, pass them in `init`.
   *
   * If an answer has to be proven and is not, `fetch` throws `answer_unproven`. Reading its body can throw the same error.
   *
   * @throws AmeshError `answer_unproven`, `redirect_refused`, `clock_skew_too_large`, `payload_too_large`; what opening the signer throws;
   *   what the underlying `fetch` throws
   * @see docs/protocol.md, "The client"
   */
  fetch(input: string | URL | Request, init?: AmeshFetchInit): Promise<Response>;
}

/** A request that is ready to be signed and sent. */
export interface PreparedRequest {
  /** Without its fragment. */
  readonly url: URL;
  /** The caller's signal, which also ends what is done before and after sending. */
  readonly signal: AbortSignal | null;
  /** Whether the request can be sent again: a stream with the caller's own Content-Digest is used up after the first time. */
  readonly isRepeatable: boolean;
  /** Whether its method is one that has no effect (RFC 9110 section 9.2.1). */
  readonly isSafe: boolean;
  /** Signs the request and sends it, with the same bytes each time. Throws like {@link Client.fetch}. */
  send(): Promise<Response>;
  /**
   * Sends exactly the same bytes again, with the same signature, after a refusal that nothing proves: the response of {@link send},
   * or its error about an answer that is not proven. The target carries them out at most once. Throws like {@link send}; throws
   * `answer` itself if the bytes cannot be sent again.
   */
  resend(answer: object): Promise<Response>;
  /**
   * Signs the request with the present key and sends it, after an error of {@link send} about an answer that is not proven. It
   * keeps the time and the nonce of the first request, so a target that knows both keys as keys of one device carries out at most
   * one of the two. Throws like {@link resend}.
   */
  sendInstead(error: object): Promise<Response>;
  /** Lets the caller read a stream that it passed as the body again, if nothing of it was sent. */
  readonly release: () => void;
}

/**
 * Creates a client with its own key.
 *
 * @throws TypeError for a wrong option
 */
export function createClient(options: ClientOptions): Client {
  const prepare = createPreparer(readOptions(options));
  return {
    fetch: (input, init) =>
      counted(async () => {
        const request = await prepare(input, init);
        return releasing(request, request.send);
      }),
  };
}

/**
 * The base of {@link createClient}, for code that may have to send a request more than once.
 *
 * @returns a function with the arguments of `fetch`; the caller may change them after the call
 */
export function createPreparer(
  settings: Settings,
): (input: string | URL | Request, init?: AmeshFetchInit) => Promise<PreparedRequest> {
  return async (input, init) => {
    const how = readAnswerOptions(init, settings.answers);
    const request = await toOutgoing(input, init, settings.maxBufferedBytes, settings.fetch === undefined);
    const after = (error: object, begin: (() => Promise<Response>) | undefined) =>
      begin === undefined ? Promise.reject(error) : sendAll(settings, request, how, begin);
    return {
      url: request.url,
      signal: request.signal,
      isRepeatable: request.stream === null,
      isSafe: isSafe(request.method),
      send: () => sendAll(settings, request, how),
      resend: (answer) => after(answer, resendOf(answer, request)),
      sendInstead: (error) => after(error, sendInstead(error, settings, request, how)),
      release: request.release,
    };
  };
}

/** Sends a request and follows redirects. */
async function sendAll(
  settings: Settings,
  first: Outgoing,
  how: AnswerOptions,
  begin = () => sendSigned(settings, first, how),
): Promise<Response> {
  let request = first;
  let signed = true;
  let response = await begin();
  for (let hops = 0; request.redirect === 'follow' && isRedirect(response); hops++) {
    await discard(response);
    const isProven = provenHead(response) !== undefined;
    const next = followRedirect(request, response, { signed, hops, isProven });
    request = next.request;
    signed = next.signed;
    if (!signed && how.answers === 'required')
      throw new RedirectRefusedError(request.url.href, 'Another origin cannot prove its answer.');
    response = await (signed
      ? sendSigned(settings, request, how)
      : send(settings.doFetch, request, request.headers));
    Object.defineProperty(response, 'redirected', { configurable: true, value: true });
  }
  const last = { ...request, options: first.options };
  await tellAnswer(settings, { request: last, response, signed });
  return response;
}
