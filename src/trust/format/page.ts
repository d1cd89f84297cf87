import { fromUtf8, toUtf8 } from '../../core/encoding';
import { sextetOf } from './prefix';

/** The most bytes in a page. */
export const MAX_PAGE_BYTES = 1_048_576;

const LINE_FEED = 0x0a;
const QUOTE = 0x22;
const START = toUtf8('{"id":"am_');
const ID_CHARACTERS = 16;
const ID_AT = START.length - 'am_'.length;
/** From the first byte of a line to the quotation mark behind its ID. */
const ID_END = START.length + ID_CHARACTERS;

/**
 * Whether a page is in order: each line begins with an ID within the prefix, and the lines are sorted by it, without
 * duplicates. The rest of a line is checked when it is read.
 *
 * @param prefix the bits with which all IDs of the page begin
 */
export function isPage(bytes: Uint8Array, prefix: string): boolean {
  if (bytes.length > MAX_PAGE_BYTES) return false;
  let last = -1;
  for (let start = 0; start < bytes.length; ) {
    if (!isLine(bytes, start, prefix)) return false;
    if (last !== -1 && compareIds(bytes, last, bytes, start) >= 0) return false;
    const end = bytes.indexOf(LINE_FEED, start + ID_END);
    if (end === -1) return false;
    last = start;
    start = end + 1;
  }
  return true;
}

/**
 * The parsed line of a device; undefined if the page has none.
 *
 * @param bytes a page that is in order
 * @throws SyntaxError, TypeError if the line is not JSON in UTF-8
 */
export function findInPage(bytes: Uint8Array, deviceId: string): unknown {
  const { start, isThere } = findLine(bytes, deviceId);
  return isThere ? parseLine(bytes, start) : undefined;
}

/** All lines of a page that is in order, parsed. */
export function* linesOf(bytes: Uint8Array): Generator<unknown> {
  for (let start = 0; start < bytes.length; start = nextLine(bytes, start)) yield parseLine(bytes, start);
}

/** All lines of a page that is in order, as text, with the ID that they begin with. */
export function* textsOf(bytes: Uint8Array): Generator<{ readonly deviceId: string; readonly line: string }> {
  for (let start = 0; start < bytes.length; start = nextLine(bytes, start)) {
    const line = textOf(bytes, start);
    yield { deviceId: line.slice(ID_AT, ID_END), line };
  }
}

/** Turns the entries that a head holds itself into a page. */
export function toPage(entries: readonly unknown[]): Uint8Array {
  return toUtf8(entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
}

/** How many lines a page has. */
export function countLines(bytes: Uint8Array): number {
  let count = 0;
  for (let start = 0; start < bytes.length; start = nextLine(bytes, start)) count++;
  return count;
}

/** The line of a device as text; null if the page has none. */
export function lineInPage(bytes: Uint8Array, deviceId: string): string | null {
  const { start, isThere } = findLine(bytes, deviceId);
  return isThere ? textOf(bytes, start) : null;
}

/**
 * A page with lines added, replaced or removed.
 *
 * @param lines without line feeds, by the ID that they begin with; null removes the line
 */
export function withLines(bytes: Uint8Array, lines: ReadonlyMap<string, string | null>): Uint8Array {
  const parts: Uint8Array[] = [];
  let kept = 0;
  for (const id of [...lines.keys()].sort()) {
    const { start, isThere } = findLine(bytes, id);
    const line = lines.get(id) as string | null;
    parts.push(bytes.subarray(kept, start));
    if (line !== null) parts.push(toUtf8(`${line}\n`));
    kept = isThere ? nextLine(bytes, start) : start;
  }
  return concat([...parts, bytes.subarray(kept)]);
}

/**
 * Splits a page in two.
 *
 * @param prefix the prefix of the page; each half has one bit more
 */
export function splitPage(bytes: Uint8Array, prefix: string): readonly [Uint8Array, Uint8Array] {
  // Base64url does not sort like its bits, so the lines of the two halves are interleaved.
  const halves: [Uint8Array[], Uint8Array[]] = [[], []];
  for (let start = 0; start < bytes.length; ) {
    const end = nextLine(bytes, start);
    halves[isLine(bytes, start, `${prefix}0`) ? 0 : 1].push(bytes.subarray(start, end));
    start = end;
  }
  return [concat(halves[0]), concat(halves[1])];
}

/** Where the line of an ID begins, or would begin. */
function findLine(
  bytes: Uint8Array,
  deviceId: string,
): { readonly start: number; readonly isThere: boolean } {
  const wanted = toUtf8(`{"id":"${deviceId}`);
  let [low, high] = [0, bytes.length]; // both are beginnings of lines
  while (low < high) {
    const middle = (low + high) >> 1;
    const start = middle === 0 ? 0 : bytes.lastIndexOf(LINE_FEED, middle - 1) + 1;
    const order = compareIds(bytes, start, wanted, 0);
    if (order === 0) return { start, isThere: true };
    if (order < 0) low = nextLine(bytes, start);
    else high = start;
  }
  return { start: low, isThere: false };
}

/** Whether a line begins like an entry whose ID has this prefix. */
function isLine(bytes: Uint8Array, start: number, prefix: string): boolean {
  if (bytes[start + ID_END] !== QUOTE) return false;
  for (let i = 0; i < START.length; i++) if (bytes[start + i] !== START[i]) return false;
  for (let i = 0; i < ID_CHARACTERS; i++) {
    const sextet = sextetOf(bytes[start + START.length + i] as number);
    if (sextet === undefined) return false;
    const wanted = prefix.slice(6 * i, 6 * i + 6);
    if (wanted !== '' && !sextet.startsWith(wanted)) return false;
  }
  return true;
}

function compareIds(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number): number {
  for (let i = START.length; i < ID_END; i++) {
    const difference = (a[aStart + i] as number) - (b[bStart + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function nextLine(bytes: Uint8Array, start: number): number {
  return bytes.indexOf(LINE_FEED, start) + 1;
}

function parseLine(bytes: Uint8Array, start: number): unknown {
  return JSON.parse(textOf(bytes, start));
}

function textOf(bytes: Uint8Array, start: number): string {
  return fromUtf8(bytes.subarray(start, nextLine(bytes, start) - 1));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
