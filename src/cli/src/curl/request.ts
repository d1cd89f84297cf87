import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import type { RequestToSign } from '@authmesh/sdk';
import { UsageError } from '../errors/errors';
import { unreadable } from '../errors/files';

/** The arguments as typed; a flag that may be given several times has a list of values. */
export interface Typed {
  readonly url: string;
  readonly method: string | undefined;
  readonly headers: readonly string[];
  readonly data: readonly string[];
}

/** Makes the request that was typed, with the defaults of curl. */
export async function toRequest({
  url,
  method,
  headers,
  data,
}: Typed): Promise<RequestToSign & { url: URL }> {
  const lines = headers.map(toHeader);
  const body = data.length === 0 ? undefined : await bodyOf(data);
  for (const line of lines) assertOurs(line, body?.length ?? 0);
  if (body === undefined) return { url: toUrl(url), method: method ?? 'GET', headers: toRecord(lines) };
  if (!lines.some(([name]) => name === 'content-type'))
    lines.push(['content-type', 'application/x-www-form-urlencoded']);
  return { url: toUrl(url), method: method ?? 'POST', headers: toRecord(lines), body };
}

async function bodyOf(data: readonly string[]): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for (const text of data) parts.push(await bytesOf(text));
  return Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [Buffer.from('&'), part])));
}

/**
 * Headers that belong to a connection, or that amesh sets. Those that amesh would leave out without a word are among them: a signature
 * of somebody else, and the host, which is that of the URL.
 */
const NOT_OURS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  'content-digest',
  'authmesh-target',
  'authmesh-key',
  'authmesh-rotation',
]);

/** @throws UsageError for a header that cannot be sent as it was typed */
function assertOurs([name, value]: readonly [string, string], lengthBytes: number): void {
  const isOther = name === 'content-length' ? value.trim() !== String(lengthBytes) : NOT_OURS.has(name);
  if (!isOther && !(name === 'authorization' && /^AuthMesh\b/i.test(value))) return;
  throw new UsageError(`-H cannot set ${name}: amesh or the connection does that.`, {
    hint: name === 'host' ? 'The host is that of the URL.' : 'Leave it out.',
  });
}

function toUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '')
    return url;
  throw new UsageError('The URL must be complete, such as https://api.example.com/orders.');
}

function toHeader(line: string): [name: string, value: string] {
  const [, name, value = ''] = /^([!#$%&'*+\-.^`|~\w]+):[ \t]*(.*)$/.exec(line) ?? [];
  if (name === undefined || !/^[\t\x20-\x7e]*$/.test(value))
    throw new UsageError('-H needs a header such as "Content-Type: application/json".');
  return [name.toLowerCase(), value];
}

function toRecord(lines: readonly [string, string][]): Record<string, string[]> {
  const record: Record<string, string[]> = Object.create(null);
  for (const [name, value] of lines) {
    record[name] ??= [];
    record[name].push(value);
  }
  return record;
}

/** A text, or the bytes of a file or of stdin, unchanged. */
async function bytesOf(text: string): Promise<Uint8Array> {
  if (!text.startsWith('@')) return Buffer.from(text);
  if (text === '@-') return buffer(process.stdin);
  return readFile(text.slice(1)).catch((error) => {
    throw unreadable('-d', error);
  });
}
