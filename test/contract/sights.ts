import type { Signer } from '@authmesh/sdk/core';
import { proseOf } from '../docs/blocks';
import { exchange, head, type RawResponse } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import type { Seen } from './subject';

/** What is sent, and the outcome in the words of the table in docs/protocol.md, "What each runtime shows". */
export interface Probe {
  readonly name: string;
  send(signer: Signer, authority: string, port: number): Promise<RawResponse>;
}

/** A signed request, bent before it is sent: another line, further header lines, another body. */
function bent(
  request: Parameters<typeof signedRaw>[2],
  bend: {
    readonly line?: (line: string, authority: string) => string;
    readonly headers?: (headers: readonly string[]) => readonly string[];
    readonly body?: string;
    readonly framing?: string;
  } = {},
): Probe['send'] {
  return async (signer, authority, port) => {
    const signed = await signedRaw(signer, authority, request);
    const { line = (same: string) => same, headers = (same: readonly string[]) => same } = bend;
    const body = bend.body ?? signed.body.toString();
    const length = bend.framing ?? (body === '' ? '' : `Content-Length: ${body.length}`);
    const lines = [...headers(signed.headers), ...(length === '' ? [] : [length])];
    return exchange(port, head(line(signed.line, authority), lines), body);
  };
}

const second = (authorization: string) => (headers: readonly string[]) => {
  const at = headers.findIndex((line) => /^authorization:/i.test(line));
  return [...headers.slice(0, at), `Authorization: ${authorization}`, ...headers.slice(at)];
};

export const PROBES: readonly Probe[] = [
  { name: "`?name=O'Brien`, signed like that", send: bent({ target: "/a?name=O'Brien" }) },
  {
    name: '`%27`, signed as an apostrophe',
    send: bent({ target: "/a?name=O'Brien" }, { line: () => 'GET /a?name=O%27Brien HTTP/1.1' }),
  },
  {
    name: '`%27` and an apostrophe, signed like that',
    send: bent({ target: "/a?name=O'Brien%27s" }),
  },
  { name: '`?x="<>`, signed like that', send: bent({ target: '/a?x="<>' }) },
  { name: '`/a^b`, signed like that', send: bent({ target: '/a^b' }) },
  { name: '`/a{b}`, signed like that', send: bent({ target: '/a{b}' }) },
  { name: '`?`, signed without', send: bent({ target: '/a' }, { line: () => 'GET /a? HTTP/1.1' }) },
  { name: '`#x` after the target', send: bent({ target: '/a' }, { line: () => 'GET /a#x HTTP/1.1' }) },
  {
    name: 'absolute form',
    send: bent({ target: '/a' }, { line: (_, authority) => `GET http://${authority}/a HTTP/1.1` }),
  },
  {
    name: 'absolute form of another host',
    send: bent({ target: '/a' }, { line: () => 'GET http://other.example/a HTTP/1.1' }),
  },
  {
    name: 'no `Host`',
    send: bent({ target: '/a' }, { headers: (headers) => headers.slice(1) }),
  },
  {
    name: 'two `Host` lines',
    send: bent({ target: '/a' }, { headers: (headers) => [...headers, 'Host: other.example'] }),
  },
  {
    name: 'a second `Authorization` before ours',
    send: bent({ target: '/a' }, { headers: second('Bearer x') }),
  },
  {
    name: 'a signed `Authorization`, cut into two lines',
    send: bent(
      { target: '/a', headers: { authorization: 'Bearer x, Bearer y' } },
      {
        headers: (headers) =>
          headers.flatMap((line) =>
            /^authorization:/i.test(line) ? ['Authorization: Bearer x', 'Authorization: Bearer y'] : [line],
          ),
      },
    ),
  },
  { name: 'a body on GET, signed', send: bent({ target: '/a', body: 'abc' }) },
  { name: 'a body on GET, not signed', send: bent({ target: '/a' }, { body: 'abc' }) },
  {
    name: 'trailers',
    send: bent(
      { method: 'POST', target: '/a', body: 'abc' },
      { framing: 'Transfer-Encoding: chunked', body: '3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n' },
    ),
  },
];

/** The outcome: `accepted`, with what the handler sees differently from what was sent; or the status. */
export function wordOf(probe: Probe, response: RawResponse): string {
  if (response.status !== 200) {
    const isOurs = response.body.startsWith('{"error":');
    return isOurs ? String(response.status) : `${response.status} by the runtime`;
  }
  const { target, length } = JSON.parse(response.body) as Seen;
  if (target.includes('%27') && !target.includes("'")) return 'accepted, as `%27`';
  if (probe.name.startsWith('a body on GET')) return length === 0 ? 'accepted, without it' : 'accepted';
  if (probe.name === 'trailers') return 'accepted, without them';
  return 'accepted';
}

/** The row of the table for a probe: what it says of each column. */
export function rowOf(probe: Probe): Readonly<Record<string, string>> {
  const [, section = ''] = proseOf('docs/protocol.md').split('\n## What each runtime shows\n');
  const lines = section.split('\n').filter((line) => line.startsWith('|'));
  const cells = (line = '') => line.split(' | ').map((cell) => cell.replace(/^\| | \|$/g, '').trim());
  const row = lines.find((line) => line.startsWith(`| ${probe.name} |`));
  const words = cells(row);
  return Object.fromEntries(cells(lines[0]).map((column, i) => [column, words[i] ?? '']));
}
