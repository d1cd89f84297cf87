import { DECIDING_FIELDS } from '../../core/wire/base';
import { namesIn } from '../../core/wire/fields';
import type { NodeRequest } from './request';
import { isFromParser } from './transport';

/** The fields that amesh reads, whether a signature covers them or not. */
export const ALWAYS_NEEDED: ReadonlySet<string> = new Set([
  ...DECIDING_FIELDS,
  'authorization',
  'content-length',
  'host',
  'signature',
  'signature-input',
  'transfer-encoding',
  // What proxies say about the request that they received, for hints and for `trustForwardedHost`.
  'forwarded',
  'x-envoy-original-path',
  'x-forwarded-host',
  'x-forwarded-prefix',
  'x-forwarded-uri',
  'x-original-host',
  'x-original-uri',
  'x-original-url',
]);
const ALWAYS = { names: ALWAYS_NEEDED, lengths: lengthsOf(ALWAYS_NEEDED) };

/**
 * The header lines that amesh reads, by lower-case name; Node's `headers` hides duplicates. The others are left out: a stranger can
 * send a thousand lines, and sorting all of them takes longer than checking a signature.
 */
export function neededLines(request: NodeRequest): Record<string, string[]> {
  const raw = linesOf(request);
  const lines: Record<string, string[]> = new Lines();
  takeLines(lines, raw, ALWAYS);
  const inputs = lines['signature-input'];
  if (inputs === undefined) return lines;
  const names = namesIn(inputs);
  for (const name of ALWAYS_NEEDED) names.delete(name); // those lines are there already
  takeLines(lines, raw, { names, lengths: lengthsOf(names) });
  return lines;
}

/** Like `Object.create(null)`, which would make a hash table: that is slow for the few lines of a usual request. */
const Lines = function Lines() {} as unknown as new () => Record<string, string[]>;
Lines.prototype = Object.create(null);

interface Names {
  readonly names: ReadonlySet<string>;
  /** Their lengths, see {@link lengthsOf}. */
  readonly lengths: number;
}

function takeLines(lines: Record<string, string[]>, raw: readonly string[], { names, lengths }: Names): void {
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const sent = raw[i] as string;
    if ((lengths & bitOf(sent)) === 0) continue; // for most lines, so that their names need not be made lower case
    const name = sent.toLowerCase();
    if (!names.has(name)) continue;
    const line = String(raw[i + 1]);
    const earlier = lines[name];
    if (earlier === undefined) lines[name] = [line];
    else earlier.push(line);
  }
}

/** One bit for each length of a name, modulo 32. */
function lengthsOf(names: Iterable<string>): number {
  let lengths = 0;
  for (const name of names) lengths |= bitOf(name);
  return lengths;
}

function bitOf({ length }: string): number {
  return 1 << (length & 31);
}

/**
 * All header lines, each after its name. Some adapters, such as serverless-http, only set `headers`: then nobody sees anything
 * else, and everybody sees the same joined lines, without the lines that the adapter dropped.
 */
function linesOf(request: NodeRequest): readonly string[] {
  const { rawHeaders = [], headers } = request;
  if (rawHeaders.length > 0 || isFromParser(request)) return rawHeaders;
  return Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || value === null ? [] : [value].flat().flatMap((line) => [name, line]),
  );
}
