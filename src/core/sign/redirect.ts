import { RedirectRefusedError } from '../errors/amesh-error';
import { isPrivateChannel } from '../wire/private-channel';
import { copyOptions, type Outgoing, toSettledUrl } from './outgoing/outgoing';

const MAX_REDIRECTS = 20; // as in the Fetch standard

/** Whether a response is a redirect. */
export function isRedirect(response: Response): boolean {
  return [301, 302, 303, 307, 308].includes(response.status) && response.headers.has('location');
}

/** Headers that must not go to another origin. */
const CREDENTIALS = /^(?:authorization|cookie|proxy-authorization|signature.*|authmesh-.*)$/;

/**
 * The request that follows a redirect. Once a chain has left its first origin, nothing in it is signed again: a server that
 * redirects must not choose what this machine signs.
 *
 * @returns the next request, and whether to sign it
 * @throws RedirectRefusedError if following it would need a signature that must not be made; TypeError after 20 redirects, or for a
 *   location that is not an http URL
 */
export function followRedirect(
  request: Outgoing,
  response: Response,
  { signed, hops, isProven }: { signed: boolean; hops: number; isProven: boolean },
): { request: Outgoing; signed: boolean } {
  if (hops >= MAX_REDIRECTS)
    throw new TypeError(`${request.url.host} redirects more than ${MAX_REDIRECTS} times.`);
  const url = parseLocation(request.url, response.headers.get('location') as string);
  const method = methodAfter(response.status, request.method);
  const sameOrigin = url.origin === request.url.origin;

  const headers = new Headers(request.headers);
  let { bytes, stream } = request;
  if (method !== request.method) {
    bytes = null;
    stream = null;
    for (const name of [...headers.keys()]) if (name.startsWith('content-')) headers.delete(name);
  }
  if (!sameOrigin) {
    for (const name of [...headers.keys()]) if (CREDENTIALS.test(name)) headers.delete(name);
  }
  if (signed && sameOrigin) {
    if (method !== 'GET' && method !== 'HEAD') {
      throw new RedirectRefusedError(url.href, `A ${method} request cannot be signed again for another URL.`);
    }
    if (!isProven && !isPrivateChannel(url)) {
      throw new RedirectRefusedError(
        url.href,
        'Over plain http, anybody in between could have written this redirect.',
      );
    }
  }
  if (stream !== null)
    throw new TypeError(`${request.url.host} redirects, but a streamed body cannot be sent twice.`);
  const { source } = request;
  const options = source === null ? request.options : { ...copyOptions(source), ...request.options };
  return {
    request: { ...request, url, method, headers, bytes, stream, options, source: null },
    signed: signed && sameOrigin,
  };
}

function parseLocation(from: URL, value: string): URL {
  const location = fromHeader(value);
  const url = URL.canParse(location, from) ? new URL(location, from) : null;
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new TypeError(`${from.host} redirects to something that is not an http URL.`);
  }
  if (url.username !== '' || url.password !== '')
    throw new TypeError(`${from.host} redirects to a URL with a password.`);
  url.hash = '';
  return toSettledUrl(url);
}

/** Some servers send raw UTF-8, which `Headers` shows as one character per byte. Browsers decode it as UTF-8. */
function fromHeader(value: string): string {
  if (!/[\x80-\xff]/.test(value) || /[^\0-\xff]/.test(value)) return value;
  return new TextDecoder().decode(Uint8Array.from(value, (character) => character.charCodeAt(0)));
}

/** @see RFC 9110 section 15.4, and step 12 of HTTP-redirect fetch */
function methodAfter(status: number, method: string): string {
  if ((status === 301 || status === 302) && method === 'POST') return 'GET';
  if (status === 303 && method !== 'GET' && method !== 'HEAD') return 'GET';
  return method;
}
