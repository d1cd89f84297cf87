import { toUtf8 } from '../../core/encoding';
import { MAX_HEAD_BYTES } from './head';
import { bitsOf, findPrefix, sextetOf } from './prefix';

const LINE_FEED = 0x0a;
const LINE_START = toUtf8('{"id":"am_');
const ID_AT = LINE_START.length;
const ID_CHARACTERS = 16;

/**
 * Joins a list into one text: its head, then the lines of its pages.
 *
 * @param head as it was sealed
 * @param pages the pages that have a hash, in the order of the head
 */
export function joinList(head: Uint8Array, pages: readonly Uint8Array[]): Uint8Array {
  const text = new Uint8Array(head.length + pages.reduce((length, page) => length + page.length, 0));
  text.set(head);
  let at = head.length;
  for (const page of pages) {
    text.set(page, at);
    at += page.length;
  }
  return text;
}

/** The bytes of a list that is a text. If its first line is too long for a head, only enough bytes to show that. */
export function listBytes(text: string): Uint8Array {
  const beginning = text.slice(0, MAX_HEAD_BYTES + 1);
  return toUtf8(beginning.length <= MAX_HEAD_BYTES || beginning.includes('\n') ? text : beginning);
}

/** Splits a list after its first line, the head. A list in a store has nothing after its head. */
export function splitHead(bytes: Uint8Array, atMost: number): readonly [head: Uint8Array, rest: Uint8Array] {
  const end = bytes.subarray(0, atMost).indexOf(LINE_FEED);
  const length = end === -1 ? bytes.length : end + 1;
  return [bytes.subarray(0, length), bytes.subarray(length)];
}

/**
 * Cuts the text after a head into pages. Their hashes show whether they are the pages that the head names. A damaged or
 * misplaced line stays where it is, so that it spoils only the page around it.
 *
 * @param prefixes the prefixes of the pages that have a hash, in the order of the head
 */
export function cutPages(rest: Uint8Array, prefixes: readonly string[]): Uint8Array[] {
  const starts = [0];
  const pageOf = (line: number) => findPage(rest, line, prefixes);
  for (let line = 0; line < rest.length; line = nextLine(rest, line)) {
    const current = starts.length - 1;
    if (isWithin(rest, line, prefixes[current])) continue;
    const page = pageOf(line);
    const next = pageOf(nextLine(rest, line));
    if (page <= current || (next !== -1 && next < page)) continue; // a misplaced line does not begin a page
    while (starts.length <= page) starts.push(line);
  }
  return prefixes.map((_, i) => rest.subarray(starts[i] ?? rest.length, starts[i + 1] ?? rest.length));
}

/** The position of the page that a line belongs to; -1 for none. */
function findPage(bytes: Uint8Array, line: number, prefixes: readonly string[]): number {
  const id = String.fromCharCode(
    ...bytes.subarray(line + ID_AT - 'am_'.length, line + ID_AT + ID_CHARACTERS),
  );
  const page = findPrefix(prefixes, bitsOf(id));
  return isWithin(bytes, line, prefixes[page]) ? page : -1;
}

/** Whether a line has an ID with this prefix. */
function isWithin(bytes: Uint8Array, line: number, prefix: string | undefined): boolean {
  if (prefix === undefined || LINE_START.some((byte, i) => bytes[line + i] !== byte)) return false;
  for (let i = 0; 6 * i < prefix.length; i++) {
    const sextet = sextetOf(bytes[line + ID_AT + i] as number) ?? '';
    if (!sextet.startsWith(prefix.slice(6 * i, 6 * i + 6))) return false;
  }
  return true;
}

function nextLine(bytes: Uint8Array, line: number): number {
  const feed = bytes.indexOf(LINE_FEED, line);
  return feed === -1 ? bytes.length : feed + 1;
}
