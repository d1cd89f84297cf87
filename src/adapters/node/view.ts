import { headerLines, type RequestView } from '../../core/wire/view';
import { bodySource, hasBody, isUnread } from './body';
import { gateBody } from './gate-body';
import { isHttp2, type NodeRequest, type NodeResponse } from './request';
import { isFromParser } from './transport';

/** What handlers see of a request, where that is not on the request itself. */
export type HandlersView = Pick<NodeRequest, 'headers' | 'baseUrl'>;

/**
 * A Node request as a view: what it is now. Middleware can have changed it since it came, and since an earlier verifier saw it.
 *
 * @param response for a body that is streamed: while it can be answered, an error in mid-body leaves the connection up
 * @param seen the headers that handlers see, and what mounts have taken off the URL
 */
export function nodeView(
  request: NodeRequest,
  response?: NodeResponse,
  seen: HandlersView = request,
): RequestView {
  const { method = '', originalUrl, originalMethod = method, url = '' } = request;
  const headers = headerRecord(linesOf(request));
  const body = hasBody(request, headers) ? bodySource(request, headers) : null;
  const authority = isHttp2(request) ? (request.authority ?? '') : (headers.host?.[0] ?? '');
  const changed = spoilChanged(headers, seen.headers);
  return {
    method,
    target: originalUrl ?? url,
    authority,
    headers,
    body,
    gateBody:
      body !== null && isUnread(request) ? (gate) => gateBody(request, response, gate, headers) : undefined,
    localPort: request.socket?.localPort,
    source: request,
    routed: originalUrl === undefined ? undefined : routedOf(originalUrl, seen.baseUrl, url),
    conflict: originalMethod === method ? changed : 'method',
  };
}

/** No line of a request holds it, so that nothing that it stands in can be signed. */
const HIDDEN = '\0';
/** What decides what a request is, and whether it is signed. */
const WATCHED = [
  'authorization',
  'authmesh-target',
  'content-digest',
  'content-encoding',
  'content-type',
  'host',
  'signature',
  'signature-input',
];

/**
 * Spoils what one reader of the request sees in another way than the next. Middleware may have changed `headers`; and Node leaves
 * out of them whatever stands behind the thousandth line (`maxHeadersCount`), but not out of `rawHeaders`, of which Hono and
 * others make their own.
 *
 * @returns what decides about the request, and was changed
 */
export function spoilChanged(
  lines: Record<string, string[]>,
  seen: Readonly<Record<string, string | readonly string[] | undefined>>,
): string | undefined {
  let conflict: string | undefined;
  for (const name in lines) {
    const came = lines[name] as string[];
    const value = Object.hasOwn(seen, name) ? seen[name] : undefined;
    const given = Array.isArray(value) ? value.join(', ') : value;
    const text = given === undefined ? undefined : String(given); // some adapters put a number there
    // Which headers Node joins, and how, depends on the name.
    if (text === came[0] || (came.length > 1 && (text === came.join(', ') || text === came.join('; '))))
      continue;
    if (text !== undefined && WATCHED.includes(name)) conflict = name;
    else if (came[0] !== HIDDEN) came.unshift(HIDDEN);
  }
  for (const name of WATCHED) {
    if (lines[name] !== undefined || headerLines(seen, name).length === 0) continue;
    lines[name] = headerLines(seen, name) as string[];
    if (name !== 'host') conflict = name; // over HTTP/2 some put in what Express looks for
  }
  return conflict && `header ${conflict}`;
}

/** What the mounts of Express and Connect leave of the target stands for the target; anything else is another one. */
function routedOf(sent: string, baseUrl: string | undefined, url: string): string | undefined {
  if (baseUrl === undefined) return isEndOf(sent, url) ? undefined : url; // Connect does not say what it took off
  const full = baseUrl + url;
  if (full === sent) return undefined;
  // Express puts a slash in front of what is left, and Express 4 takes one away where there are two.
  const mayDiffer = baseUrl !== '' && (ADDED_SLASH.test(url) ? baseUrl + url.slice(1) : `${baseUrl}/${url}`);
  return mayDiffer === sent ? undefined : full;
}

/** A mount leaves `/` or `/?x` of its own path, and Express 4 and Connect `/.x` of a path with a dot behind it. */
const ADDED_SLASH = /^\/(?:$|[?.])/;

/** Whether a mount that does not say what it took off can have left this. */
export function isEndOf(sent: string, url: string): boolean {
  return sent.endsWith(url) || (ADDED_SLASH.test(url) && sent.endsWith(url.slice(1)));
}

/**
 * Every line with its name before it. Some adapters, such as serverless-http, fill in `headers` alone: then they are all that
 * anybody sees, and lines that the adapter has joined or left out are joined or left out for everybody.
 */
function linesOf(request: NodeRequest): readonly string[] {
  const { rawHeaders = [], headers } = request;
  if (rawHeaders.length > 0 || isFromParser(request)) return rawHeaders;
  return Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || value === null ? [] : [value].flat().flatMap((line) => [name, line]),
  );
}

/** Every line by lower-case name; Node's own `headers` hides duplicates. Pseudo-headers of HTTP/2 are no headers. */
function headerRecord(raw: readonly string[]): Record<string, string[]> {
  const record: Record<string, string[]> = Object.create(null);
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    if (name.startsWith(':')) continue;
    const lines = record[name];
    const line = String(raw[i + 1]);
    if (lines === undefined) record[name] = [line];
    else lines.push(line);
  }
  return record;
}
