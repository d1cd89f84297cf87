import { normalizeAuthority } from '../wire/authority';
import type { RequestLine } from '../wire/line';
import { headerLines, type RequestView } from '../wire/view';

/** A change that a proxy may have made to a request. */
export type Change = 'authority' | 'cut' | 'escapes' | 'method' | 'prefix' | 'query' | 'slash' | 'slashes';

/** A request line as it may have been signed, before such a change. */
export interface Spelling {
  readonly line: RequestLine;
  readonly changes: readonly Change[];
}

const LONGEST = 1024;
/** Each spelling beyond these costs a verification and very rarely matches. */
const [MAX_SLASHES, MAX_AUTHORITIES, MAX_PAIRS] = [4, 4, 3];

/** The most likely spellings come first. A target of more than 1,024 characters has none. */
export function* spellingsOf(
  line: RequestLine,
  view: RequestView,
  hosts: readonly string[],
): Generator<Spelling> {
  if (line.path.length + line.query.length > LONGEST) return;
  const authorities = authoritiesOf(line, view, hosts);
  const paths = [...pathsOf(line, view)];
  for (const authority of authorities) yield { line: { ...line, authority }, changes: ['authority'] };
  for (const [change, path] of paths) yield { line: { ...line, path }, changes: [change] };
  for (const query of queriesOf(line.query)) yield { line: { ...line, query }, changes: ['query'] };
  if (line.method === 'GET') yield { line: { ...line, method: 'HEAD' }, changes: ['method'] };
  const [authority] = authorities;
  if (authority === undefined) return;
  for (const [change, path] of paths)
    yield { line: { ...line, authority, path }, changes: ['authority', change] };
}

/** The hosts that proxies report as the original one, and the hosts that this server accepts. */
function authoritiesOf({ authority }: RequestLine, view: RequestView, hosts: readonly string[]): string[] {
  const first = (name: string) => headerLines(view.headers, name).join(',').split(',')[0] ?? '';
  const forwarded = /host="?([^";,\s]+)/i.exec(first('forwarded'))?.[1] ?? '';
  const said = [first('x-forwarded-host'), forwarded, first('x-original-host')].map((text) => text.trim());
  const found = [...said, ...hosts].map((text) => normalizeAuthority(text)).filter((text) => text !== null);
  return [...new Set(found)].filter((text) => text !== authority).slice(0, MAX_AUTHORITIES);
}

function* pathsOf({ path }: RequestLine, view: RequestView): Generator<[Change, string]> {
  const escaped = escapesOf(path);
  for (const other of escaped) yield ['escapes', other];
  for (const base of [path, ...escaped.slice(0, 1)]) {
    for (const at of slashesOf(base)) yield ['escapes', `${base.slice(0, at)}%2F${base.slice(at + 1)}`];
  }
  for (const at of [0, ...slashesOf(path)]) yield ['slashes', `${path.slice(0, at)}/${path.slice(at)}`];
  yield ['slashes', path.replace(/\/(?!$)/g, '//')];
  if (path !== '/') yield ['slash', path.endsWith('/') ? path.slice(0, -1) : `${path}/`];
  for (const prefix of prefixesOf(path, view)) yield ['cut', prefix + path];
  const rest = path.indexOf('/', 1);
  if (rest !== -1) yield ['prefix', path.slice(rest)];
}

/** The path encoded twice, as a single value, as Python and `fetch` do it, and with the other case of hex digits. */
function escapesOf(path: string): string[] {
  const forms = [path.replace(/%25(?=[0-9a-f]{2})/gi, '%')];
  try {
    const parts = path.split('/').map(decodeURIComponent);
    const values = parts.map(encodeURIComponent).join('/');
    const all = values.replace(/[!'()*]/g, toEscape);
    forms.push(values, all, all.replaceAll('~', '%7E'));
    forms.push(parts.map((part) => part.replace(NOT_IN_FETCH, encodeURIComponent)).join('/'));
  } catch {
    // The path cannot be decoded, so nobody decoded it.
  }
  const ofCase = (form: string, to: 'toLowerCase' | 'toUpperCase') =>
    form.replace(/%[0-9a-f]{2}/gi, (escaped) => escaped[to]());
  forms.push(ofCase(path, 'toLowerCase'), ofCase(path, 'toUpperCase'));
  return [...new Set(forms)].filter((form) => form !== path);
}

/** Characters that `fetch` escapes in a path. */
const NOT_IN_FETCH = /[^!$&'()*+,\-.0-9:;=@A-Z[\]_a-z|~]/gu;

function toEscape(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** The positions of the last few slashes, without the first one of the path. */
function slashesOf(path: string): number[] {
  return [...path.matchAll(/\//g)]
    .map(({ index }) => index)
    .slice(1)
    .slice(-MAX_SLASHES);
}

/** The log quotes the prefix as code to copy, so it must not contain a quote or a backslash. */
const PREFIX = /^\/[\x21\x24-\x26\x28-\x3e\x40-\x5b\x5d-\x5f\x61-\x7e]{0,200}$/;

/** The prefixes that proxies report as removed, and common ones. */
function prefixesOf(path: string, { headers }: RequestView): string[] {
  const full = ['x-forwarded-uri', 'x-original-uri', 'x-original-url', 'x-envoy-original-path'].flatMap(
    (name) => headerLines(headers, name).map((uri) => uri.split('?')[0] as string),
  );
  const cut = full.filter((uri) => uri.endsWith(path)).map((uri) => uri.slice(0, uri.length - path.length));
  const said = headerLines(headers, 'x-forwarded-prefix').map((prefix) => prefix.replace(/\/$/, ''));
  const prefixes = [...cut.slice(0, 2), ...said.slice(0, 2), '/api', '/v1', '/api/v1'];
  return [...new Set(prefixes)].filter((prefix) => PREFIX.test(prefix));
}

function queriesOf(query: string): string[] {
  if (query === '?') return [];
  const pairs = query.slice(1).split('&');
  const forms = [
    '?',
    query.replaceAll('+', '%20'),
    query.replaceAll('%20', '+'),
    `?${new URLSearchParams(query)}`,
    ...(pairs.length <= MAX_PAIRS ? ordersOf(pairs).map((order) => `?${order.join('&')}`) : []),
  ];
  return [...new Set(forms)].filter((form) => form !== query);
}

function ordersOf(items: readonly string[]): string[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, at) => ordersOf(items.toSpliced(at, 1)).map((order) => [item, ...order]));
}
