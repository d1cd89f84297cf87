import { factsOf, type NameFacts } from './names';

/** Header lines as Node's `rawHeaders` has them: names and values in turn. */
export type Lines = readonly string[];

/** Calls `see` with each line: its lower-case name, its value and the name as it arrived. Pseudo-headers are left out. */
export function eachLine(lines: Lines, see: (name: string, value: string, sent: string) => void): void {
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const sent = lines[i] as string;
    if (!sent.startsWith(':')) see(factsOf(sent).lower, lines[i + 1] as string, sent);
  }
}

const NONE: readonly string[] = [];

/** The values of a header, line by line. */
export function valuesOf(lines: Lines, wanted: string): readonly string[] {
  let found: string[] | undefined;
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const sent = lines[i] as string;
    if (sent.length !== wanted.length || (sent !== wanted && sent.toLowerCase() !== wanted)) continue;
    const value = lines[i + 1] as string;
    if (found === undefined) found = [value];
    else found.push(value);
  }
  return found ?? NONE;
}

/** The names in the `Connection` lines, in lower case. */
function connectionOptions(lines: Lines): readonly string[] {
  const values = valuesOf(lines, 'connection');
  if (values.length === 0) return NONE;
  return values
    .flatMap((value) => value.split(','))
    .map((option) => option.trim().toLowerCase())
    .filter((option) => option !== '');
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not be there
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/;

/**
 * Node drops all lines after the thousandth, but its parser uses them, for example a length. Names and values are counted
 * separately.
 */
const MOST_LINES = 2000;

/**
 * Why header lines cannot be passed on: readers could disagree about them.
 *
 * @returns the end of a sentence; undefined if nothing is wrong
 */
export function faultOf(lines: Lines): string | undefined {
  if (lines.length >= MOST_LINES) return 'it has a thousand header lines or more';
  const seen: Seen = { host: false, length: false, type: false, authorization: false, coding: false };
  let hasConnection = false;
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const sent = lines[i] as string;
    if (sent.startsWith(':')) continue;
    const { lower, isRight } = factsOf(sent);
    if (!isRight)
      return sent.includes('_') ? 'a header name contains an underscore' : 'a header name is not a token';
    const value = lines[i + 1] as string;
    if (CONTROL.test(value)) return `${lower} contains control characters`;
    const fault = faultIn(lower, value, seen);
    if (fault !== undefined) return fault;
    hasConnection ||= lower === 'connection';
  }
  if (seen.length && seen.coding) return 'there are both content-length and transfer-encoding';
  return hasConnection ? connectionFault(lines) : undefined;
}

/** Which of the headers that may be there only once were seen: of two lines, two readers could use different ones. */
interface Seen {
  host: boolean;
  length: boolean;
  type: boolean;
  authorization: boolean;
  coding: boolean;
}

function faultIn(name: string, value: string, seen: Seen): string | undefined {
  switch (name) {
    case 'host':
      return once(seen, 'host', name);
    case 'content-type':
      return once(seen, 'type', name);
    case 'authorization':
      return once(seen, 'authorization', name);
    case 'content-length':
      return (
        once(seen, 'length', name) ??
        (/^\d{1,15}$/.test(value) ? undefined : 'content-length is not a number')
      );
    case 'transfer-encoding':
      return once(seen, 'coding', name) === undefined && /^\s*chunked\s*$/i.test(value)
        ? undefined
        : 'transfer-encoding is not "chunked"';
    case 'trailer':
      return /^[\s,]*$/.test(value) ? undefined : 'trailers are not signed'; // an empty list announces no trailers
  }
}

function once(seen: Seen, key: keyof Seen, name: string): string | undefined {
  if (seen[key]) return `${name} is given twice`;
  seen[key] = true;
}

/**
 * If `Connection` named a header that decides about a request, this proxy would have to remove that header, and the next server
 * would see another request than the one that was signed.
 */
function connectionFault(lines: Lines): string | undefined {
  for (const option of connectionOptions(lines)) {
    const { isDeciding, isRight } = factsOf(option);
    if (isDeciding || !isRight)
      return `Connection names ${isRight ? option : 'something that is not a header'}`;
  }
}

/**
 * The lines that are passed on: without those of one connection, and without those for which `drops` returns true.
 *
 * @param drops called for each other line
 */
export function endToEnd(lines: Lines, drops: (facts: NameFacts, value: string) => boolean): string[] {
  const options = connectionOptions(lines);
  const named = options.length === 0 ? undefined : new Set(options);
  const kept: string[] = [];
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const sent = lines[i] as string;
    if (sent.startsWith(':')) continue;
    const facts = factsOf(sent);
    const value = lines[i + 1] as string;
    if (!facts.isHopByHop && !named?.has(facts.lower) && !drops(facts, value)) kept.push(sent, value);
  }
  return kept;
}

/** Lines grouped by name, each name as it was first sent. A single line is a text. */
export function grouped(lines: Lines): Map<string, [sent: string, value: string | string[]]> {
  const groups = new Map<string, [string, string | string[]]>();
  eachLine(lines, (name, value, sent) => {
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [sent, value]);
    else group[1] = typeof group[1] === 'string' ? [group[1], value] : [...group[1], value];
  });
  return groups;
}
