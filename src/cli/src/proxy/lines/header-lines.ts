/** Header lines as Node's `rawHeaders` has them: names and values in turn. */
export type Lines = readonly string[];

/** Fields of one connection only (RFC 9110 section 7.6.1), and those by which proxies speak to each other. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Fields that decide what a request is. If `Connection` named one, this proxy would have to remove it, and the server behind
 * would see another request than the one that was signed.
 */
const DECIDING =
  /^(?:host|content-.+|authorization|cookie|origin|range|if-.+|expect|signature.*|accept-signature|(?:x-)?authmesh-.*|forwarded|x-forwarded-.+|x-real-ip)$/;

/** Of these, a second line would mean that two readers can take different ones. */
const SINGLE: ReadonlySet<string> = new Set(['host', 'content-length', 'content-type', 'authorization']);

/** A name without underscore: CGI, WSGI and others give `a-b` and `a_b` the same variable. */
const NAME = /^[!#$%&'*+.^`|~0-9A-Za-z-]+$/;

/** Calls `see` with each line: its lower-case name, its value and the name as it came. Pseudo-headers are left out. */
export function eachLine(lines: Lines, see: (name: string, value: string, sent: string) => void): void {
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const sent = lines[i] as string;
    if (!sent.startsWith(':')) see(sent.toLowerCase(), lines[i + 1] as string, sent);
  }
}

/** The values of a header, line by line. */
export function valuesOf(lines: Lines, wanted: string): string[] {
  const found: string[] = [];
  eachLine(lines, (name, value) => {
    if (name === wanted) found.push(value);
  });
  return found;
}

/** The names in the `Connection` lines, in lower case. */
export function connectionOptions(lines: Lines): string[] {
  return valuesOf(lines, 'connection')
    .flatMap((value) => value.split(','))
    .map((option) => option.trim().toLowerCase())
    .filter((option) => option !== '');
}

/**
 * Whether a server might take a header for one that this proxy sets. Some turn every character but letters and digits into the
 * same one.
 */
export function isOfProxy(name: string): boolean {
  return /^(?:x-)?authmesh(?:-|$)/.test(name.toLowerCase().replace(/[^a-z0-9]/g, '-'));
}

/**
 * Why header lines cannot be passed on: readers could disagree about them.
 *
 * @returns the end of a sentence; undefined if nothing is wrong
 */
export function faultOf(lines: Lines): string | undefined {
  let fault: string | undefined;
  const seen = new Set<string>();
  eachLine(lines, (name, value, sent) => {
    if (fault !== undefined) return;
    if (!NAME.test(sent))
      fault = sent.includes('_') ? 'a header name contains an underscore' : 'a header name is not a token';
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    else if (/[\0-\x08\x0a-\x1f\x7f]/.test(value)) fault = `${name} contains control characters`;
    else if (SINGLE.has(name) && seen.has(name)) fault = `${name} is given twice`;
    else if (name === 'trailer') fault = 'trailers are not signed';
    else if (name === 'content-length' && !/^\d{1,15}$/.test(value)) fault = 'content-length is not a number';
    else if (name === 'transfer-encoding' && (seen.has(name) || !/^\s*chunked\s*$/i.test(value)))
      fault = 'transfer-encoding is not "chunked"';
    seen.add(name);
  });
  if (fault === undefined && seen.has('content-length') && seen.has('transfer-encoding'))
    fault = 'there is a content-length beside transfer-encoding';
  if (fault !== undefined || !seen.has('connection')) return fault;
  const named = connectionOptions(lines).find((option) => DECIDING.test(option) || !NAME.test(option));
  return named === undefined
    ? undefined
    : `Connection names ${NAME.test(named) ? named : 'what is no header'}`;
}

/**
 * The lines that go on to the other side: without those of one connection, and without those that `drops` names.
 *
 * @param drops is asked for each other line, by its lower-case name
 */
export function endToEnd(lines: Lines, drops: (name: string, value: string) => boolean): string[] {
  const named = new Set(connectionOptions(lines));
  const kept: string[] = [];
  eachLine(lines, (name, value, sent) => {
    if (!HOP_BY_HOP.has(name) && !named.has(name) && !drops(name, value)) kept.push(sent, value);
  });
  return kept;
}

/** Lines grouped by name, each name as it was sent first. A single line is a text. */
export function grouped(lines: Lines): Map<string, [sent: string, value: string | string[]]> {
  const groups = new Map<string, [string, string | string[]]>();
  eachLine(lines, (name, value, sent) => {
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [sent, value]);
    else group[1] = typeof group[1] === 'string' ? [group[1], value] : [...group[1], value];
  });
  return groups;
}
