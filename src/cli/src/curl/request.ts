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
  if (data.length === 0) return { url: toUrl(url), method: method ?? 'GET', headers: toRecord(lines) };
  if (!lines.some(([name]) => name === 'content-type'))
    lines.push(['content-type', 'application/x-www-form-urlencoded']);
  const parts: Uint8Array[] = [];
  for (const text of data) parts.push(await bytesOf(text));
  const body = Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [Buffer.from('&'), part])));
  return { url: toUrl(url), method: method ?? 'POST', headers: toRecord(lines), body };
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
