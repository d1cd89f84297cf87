import express from 'express';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { exchange, head, RawClient } from '../support/raw-http';
import { type RawRequest, signedRaw } from '../support/signed-raw';

/**
 * What a client gets to see of a refusal. `parser` is one of Node itself, before any handler; where a version of Node
 * lets the request through it is malformed for us.
 */
type Expected = 'parser' | readonly [status: number, code: string];

const MALFORMED: Expected = [400, 'malformed_header'];
const FORGED: Expected = [401, 'invalid_signature'];

interface Attack {
  readonly name: string;
  readonly expected: Expected;
  /** The request that is signed, before it is bent. */
  readonly request?: Parameters<typeof signedRaw>[2];
  readonly bend: (raw: RawRequest, authority: string) => (string | Uint8Array)[];
}

/** Another request line, everything else as signed. */
const line = (text: (line: string, authority: string) => string) => (raw: RawRequest, authority: string) => [
  head(text(raw.line, authority), raw.headers),
];
/** Other headers, everything else as signed; no body. */
const headers = (change: (headers: readonly string[], authority: string) => string[]) => {
  return (raw: RawRequest, authority: string) => [head(raw.line, change(raw.headers, authority))];
};
const host = (value: (authority: string) => string) =>
  headers(([, ...others], authority) => [`Host: ${value(authority)}`, ...others]);
/** Headers in front of the body, which is sent as signed. */
const withBody = (change: (raw: RawRequest) => readonly string[]) => (raw: RawRequest) => [
  head(raw.line, [...raw.headers, ...change(raw)]),
  raw.body,
];

const post = {
  method: 'POST',
  target: '/api/orders',
  headers: { 'content-type': 'application/json' },
  body: '{"a":1}',
};
const get = { target: '/api/orders' };
const length = ({ body }: RawRequest) => `Content-Length: ${body.length}`;
const replaced = (raw: RawRequest, name: string, value: (old: string) => string) =>
  raw.headers.map((text) => {
    const [key = '', old = ''] = text.split(/: (.*)/s);
    return key === name ? `${key}: ${value(old)}` : text;
  });

const attacks: Attack[] = [
  // One of two is read by one part of a server, the other by another.
  {
    name: 'two Content-Length that differ',
    expected: 'parser',
    request: post,
    bend: withBody((raw) => [length(raw), 'Content-Length: 0']),
  },
  {
    name: 'two Content-Length that are equal',
    expected: 'parser',
    request: post,
    bend: withBody((raw) => [length(raw), length(raw)]),
  },
  {
    name: 'two Authorization, the signed one first',
    expected: MALFORMED,
    bend: headers((all) => [...all, 'Authorization: Bearer admin']),
  },
  {
    name: 'two Authorization, the signed one last',
    expected: MALFORMED,
    bend: headers(([first = '', ...all]) => [first, 'Authorization: Bearer admin', ...all]),
  },
  {
    name: 'two Host, the right one first',
    expected: MALFORMED,
    bend: headers((all) => [...all, 'Host: evil.example']),
  },
  {
    name: 'two Host, the right one last',
    expected: MALFORMED,
    bend: headers((all) => ['Host: evil.example', ...all]),
  },
  {
    name: 'two Host that are equal',
    expected: MALFORMED,
    bend: headers((all, to) => [...all, `Host: ${to}`]),
  },
  ...['Content-Type: text/plain', 'Content-Digest: sha-256=:AAAA:', 'content-encoding: gzip'].map(
    (extra) => ({
      name: `two ${extra.split(':')[0]}`,
      expected: MALFORMED,
      request: { ...post, headers: { ...post.headers, 'content-encoding': 'identity' } },
      bend: withBody((raw) => [length(raw), extra]),
    }),
  ),
  {
    name: 'two AuthMesh-Target',
    expected: MALFORMED,
    bend: headers((all) => [
      ...all,
      'AuthMesh-Target: am_AAAAAAAAAAAAAAAA',
      'AuthMesh-Target: am_BBBBBBBBBBBBBBBB',
    ]),
  },
  {
    name: 'both signature forms at once',
    expected: MALFORMED,
    bend: headers((all) => [
      ...all,
      'Signature-Input: amesh=("@method");created=1;nonce="AAAAAAAAAAAAAAAAAAAAAA";keyid="am_AAAAAAAAAAAAAAAA";tag="amesh"',
      `Signature: amesh=:${Buffer.alloc(64).toString('base64')}:`,
    ]),
  },

  // A Host that is more than a host.
  ...['/x', '?x', '#x', ' x', '\tx', ',x', '\\x', '%00', ':', ':0', ':99999'].map((end) => ({
    name: `Host ending in ${JSON.stringify(end)}`,
    expected: MALFORMED,
    bend: host((authority) => (end.startsWith(':') ? '127.0.0.1' : authority) + end),
  })),
  { name: 'Host with user information', expected: MALFORMED, bend: host((authority) => `user@${authority}`) },
  { name: 'Host that is empty', expected: MALFORMED, bend: host(() => '') },
  { name: 'Host that is not ASCII', expected: MALFORMED, bend: host(() => 'l\u00f6calhost') },
  { name: 'Host of another server', expected: [421, 'wrong_host'], bend: host(() => 'api.example.com') },
  {
    name: 'Host of another port of this machine',
    expected: [421, 'wrong_host'],
    bend: host(() => '127.0.0.1:1'),
  },
  { name: 'no Host', expected: 'parser', bend: headers(([, ...others]) => others) },
  {
    name: 'X-Forwarded-Host that nobody trusts',
    expected: [421, 'wrong_host'],
    bend: headers(([, ...others], to) => ['Host: api.example.com', `X-Forwarded-Host: ${to}`, ...others]),
  },

  // The target.
  {
    name: 'absolute-form target',
    expected: MALFORMED,
    request: get,
    bend: line((text, to) => text.replace(' /', ` http://${to}/`)),
  },
  {
    name: 'absolute-form target of another host',
    expected: MALFORMED,
    request: get,
    bend: line((text) => text.replace(' /', ' http://evil.example/')),
  },
  {
    name: 'authority-form target',
    expected: 'parser',
    request: get,
    bend: line((text, to) => text.replace(/ .* /, ` ${to} `)),
  },
  ...[
    ['//api/orders', FORGED],
    ['/api/../api/orders', FORGED],
    ['/api/./orders', FORGED],
    ['/api//orders', FORGED],
    ['/api/orders/', FORGED],
    ['/%61pi/orders', FORGED],
    ['/api/%2e/orders', FORGED],
    ['/api/%2e%2e/api/orders', FORGED],
    ['/api%2Forders', FORGED],
    ['/api/orders?admin=1', FORGED],
    ['/api/orders;admin=1', FORGED],
    ['/API/orders', FORGED],
    ['/api/orders%00', FORGED],
    ['/api\\orders', FORGED],
    ['/\\api/orders', FORGED],
    ['\\api/orders', 'parser'],
    ['/api/orders#x', MALFORMED],
    ['/api/\u00f6rders', 'parser'],
    ['/api/orders x', 'parser'],
    ['/api/orders\tx', 'parser'],
    ['', 'parser'],
  ].map(([target, expected]) => ({
    name: `target ${JSON.stringify(target)}`,
    expected: expected as Expected,
    request: get,
    bend: line(() => `GET ${target} HTTP/1.1`),
  })),

  // The method.
  { name: 'TRACE', expected: MALFORMED, bend: line((text) => text.replace('GET', 'TRACE')) },
  { name: 'OPTIONS *', expected: MALFORMED, bend: line(() => 'OPTIONS * HTTP/1.1') },
  { name: 'OPTIONS in place of GET', expected: FORGED, bend: line((text) => text.replace('GET', 'OPTIONS')) },
  { name: 'HEAD in place of GET', expected: FORGED, bend: line((text) => text.replace('GET', 'HEAD')) },
  { name: 'DELETE in place of GET', expected: FORGED, bend: line((text) => text.replace('GET', 'DELETE')) },
  { name: 'a method in lower case', expected: 'parser', bend: line((text) => text.replace('GET', 'get')) },
  {
    name: 'X-HTTP-Method-Override does not help another method',
    expected: FORGED,
    bend: (raw) => [head(raw.line.replace('GET', 'POST'), [...raw.headers, 'X-HTTP-Method-Override: GET'])],
  },

  // The body.
  {
    name: 'GET with a body that nobody signed',
    expected: [401, 'content_digest_missing'],
    bend: (raw) => [head(raw.line, [...raw.headers, 'Content-Length: 5']), 'admin'],
  },
  {
    name: 'GET with chunks that nobody signed',
    expected: [401, 'content_digest_missing'],
    bend: (raw) => [
      head(raw.line, [...raw.headers, 'Transfer-Encoding: chunked']),
      '5\r\nadmin\r\n0\r\n\r\n',
    ],
  },
  {
    name: 'another body of the same length',
    expected: [401, 'content_digest_mismatch'],
    request: post,
    bend: (raw) => [head(raw.line, [...raw.headers, length(raw)]), '{"a":2}'],
  },
  {
    name: 'a shorter body',
    expected: [401, 'content_digest_mismatch'],
    request: post,
    bend: (raw) => [head(raw.line, [...raw.headers, 'Content-Length: 6']), '{"a":1'],
  },
  {
    name: 'no body where one was signed',
    expected: [401, 'content_digest_mismatch'],
    request: post,
    bend: (raw) => [head(raw.line, [...raw.headers, 'Content-Length: 0'])],
  },
  {
    name: 'a body and the digest of it',
    expected: FORGED,
    request: post,
    bend: (raw) => [
      head(raw.line, [
        ...replaced(raw, 'content-digest', () => 'sha-256=:GH4MPVHhgfD3QcwVTJsLoVRg0bOhtE5jP2J3obh+cm0=:'),
        'Content-Length: 5',
      ]),
      'admin',
    ],
  },
  {
    name: 'chunked with trailers',
    expected: MALFORMED,
    request: post,
    bend: (raw) => [
      head(raw.line, [...raw.headers, 'Transfer-Encoding: chunked', 'Trailer: X-User']),
      '7\r\n{"a":1}\r\n0\r\nX-User: admin\r\n\r\n',
    ],
  },
  {
    name: 'an empty body with trailers',
    expected: MALFORMED,
    bend: (raw) => [
      head(raw.line, [...raw.headers, 'Transfer-Encoding: chunked']),
      '0\r\nAuthorization: Bearer admin\r\n\r\n',
    ],
  },
  {
    name: 'request smuggling: Transfer-Encoding together with Content-Length',
    expected: 'parser',
    request: post,
    bend: (raw) => [
      head(raw.line, [...raw.headers, length(raw), 'Transfer-Encoding: chunked']),
      '7\r\n{"a":1}\r\n0\r\n\r\n',
    ],
  },
  {
    name: 'request smuggling: Transfer-Encoding that is not chunked',
    expected: 'parser',
    request: post,
    bend: (raw) => [head(raw.line, [...raw.headers, length(raw), 'Transfer-Encoding: xchunked']), raw.body],
  },
  {
    name: 'request smuggling: a space before the colon',
    expected: 'parser',
    request: post,
    bend: (raw) => [head(raw.line, [...raw.headers, 'Content-Length : 7']), raw.body],
  },
  {
    name: 'a negative Content-Length',
    expected: 'parser',
    request: post,
    bend: (raw) => [head(raw.line, [...raw.headers, 'Content-Length: -7']), raw.body],
  },

  // Values of covered fields.
  {
    name: 'obs-fold in Authorization',
    expected: 'parser',
    bend: (raw) => [
      head(
        raw.line,
        replaced(raw, 'authorization', (old) => old.replace(',', ',\r\n ')),
      ),
    ],
  },
  {
    name: 'obs-fold in a covered field',
    expected: 'parser',
    request: post,
    bend: (raw) => [
      head(raw.line, [...replaced(raw, 'content-type', (old) => `${old};\r\n charset=utf-8`), length(raw)]),
      raw.body,
    ],
  },
  {
    name: 'header injection: a bare LF in a value',
    expected: 'parser',
    bend: headers((all) => [...all, 'X-A: a\nX-Admin: 1']),
  },
  {
    name: 'header injection: a bare CR in a value',
    expected: 'parser',
    bend: headers((all) => [...all, 'X-A: a\rX-Admin: 1']),
  },
  { name: 'a NUL in a value', expected: 'parser', bend: headers((all) => [...all, 'X-A: a\0b']) },
  {
    name: 'non-ASCII in content-type',
    expected: MALFORMED,
    request: post,
    bend: (raw) => [
      head(raw.line, [...replaced(raw, 'content-type', (old) => `${old}; x=\u00fc`), length(raw)]),
      raw.body,
    ],
  },
  {
    name: 'non-ASCII in content-encoding',
    expected: MALFORMED,
    request: { ...post, headers: { ...post.headers, 'content-encoding': 'identity' } },
    bend: (raw) => [
      head(raw.line, [...replaced(raw, 'content-encoding', () => 'ident\u00edty'), length(raw)]),
      raw.body,
    ],
  },
  {
    name: 'a control character in a covered field',
    expected: 'parser',
    request: post,
    bend: (raw) => [
      head(raw.line, [...replaced(raw, 'content-type', (old) => `${old}\x01`), length(raw)]),
      raw.body,
    ],
  },
  {
    name: 'non-ASCII in Authorization',
    expected: MALFORMED,
    bend: (raw) => [
      head(
        raw.line,
        replaced(raw, 'authorization', (old) => old.replace('sig="', 'sig="\u00e9')),
      ),
    ],
  },
  {
    name: 'content-type added to a signed request',
    expected: FORGED,
    bend: headers((all) => [...all, 'Content-Type: application/json']),
  },
  {
    name: 'content-type taken away',
    expected: FORGED,
    request: post,
    bend: (raw) => [
      head(raw.line, [...raw.headers.filter((text) => !text.startsWith('content-type')), length(raw)]),
      raw.body,
    ],
  },
  {
    name: '__proto__ as a header does not stand in for one',
    expected: [401, 'missing_header'],
    bend: (raw) => [head(raw.line, [raw.headers[0] as string, '__proto__: x', 'constructor: y'])],
  },

  // The version of the protocol.
  {
    name: 'HTTP/1.0 without Host',
    expected: MALFORMED,
    bend: (raw) => [head(raw.line.replace('1.1', '1.0'), raw.headers.slice(1))],
  },
];

describe.each([
  { name: 'Express 5', isExpress: true },
  { name: 'node:http', isExpress: false },
])('attacks over a raw socket on $name', ({ isExpress }) => {
  let machines: Machines;
  let server: Listening;
  let handled: number;

  beforeAll(async () => {
    machines = await createMachines();
    const verify = machines.target.verify();
    server = await listen(
      isExpress
        ? express().use(verify, (_request, response) => {
            handled++;
            response.end('in');
          })
        : (request, response) =>
            verify(request, response, () => {
              handled++;
              response.end('in');
            }),
    );
  });
  afterAll(async () => {
    await server.close();
    await machines.remove();
  });
  beforeEach(() => {
    machines.refusals.length = 0;
    handled = 0;
  });

  const sign = (request?: Attack['request']) => signedRaw(machines.signer, server.authority, request);
  const codes = () => machines.refusals.map(({ code }) => code);

  async function expectServing() {
    const { line, headers } = await sign();
    expect((await exchange(server.port, head(line, headers))).body).toBe('in');
  }

  it.each([undefined, get, post])('the request that is changed is a valid one: %o', async (request) => {
    const raw = await sign(request);
    const body = raw.body.length === 0 ? [] : [length(raw)];
    expect((await exchange(server.port, head(raw.line, [...raw.headers, ...body]), raw.body)).body).toBe(
      'in',
    );
    expect(codes()).toEqual([]);
  });

  it.each(attacks)('$name', async ({ expected, request, bend }) => {
    const parts = bend(await sign(request), server.authority);
    const response = await exchange(server.port, ...parts);
    expect(handled).toBe(0);
    if (expected === 'parser') {
      expect([400, 505]).toContain(response.status);
      expect(codes().filter((code) => code !== 'malformed_header')).toEqual([]);
    } else {
      const [status, code] = expected;
      expect(codes()).toEqual([code]);
      expect(response.status).toBe(status);
      const wire = status === 401 ? 'unauthorized' : code;
      expect(response.body).toBe(String(parts[0]).startsWith('HEAD') ? '' : JSON.stringify({ error: wire }));
      expect(response.headers['cache-control']).toBe('no-store');
    }
    await expectServing();
  });

  it('HTTP/1.0 with a Host is a request like any other', async () => {
    const { line, headers } = await sign();
    expect((await exchange(server.port, head(line.replace('1.1', '1.0'), headers))).body).toBe('in');
  });

  it('HTTP/2.0 in the request line is still HTTP/1', async () => {
    const { line, headers } = await sign();
    const bent = line.replace('1.1', '2.0');
    expect((await exchange(server.port, head(bent, headers.slice(0, 1)))).status).toBe(401);
    expect(codes()).toEqual(['missing_header']);
    expect((await exchange(server.port, head(bent, headers))).body).toBe('in');
    const unread = head('POST / HTTP/2.0', [...headers.slice(0, 1), 'Content-Length: 5']);
    expect((await exchange(server.port, unread, '12')).status).toBe(401);
    await expectServing();
  });

  it('HTTP/0.9, which Node reads as HTTP/1.0, is checked like any other', async () => {
    const { line, headers } = await sign();
    const bent = line.replace(' HTTP/1.1', '');
    expect((await exchange(server.port, head(bent, headers.slice(0, 1)))).status).toBe(401);
    expect((await exchange(server.port, `${bent}\r\n\r\n`)).status).toBe(401);
    expect(handled).toBe(0);
    await expectServing();
  });

  it('Connection: upgrade does not bypass the checks', async () => {
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];
    const unsigned = await exchange(
      server.port,
      head('GET / HTTP/1.1', [`Host: ${server.authority}`, ...upgrade]),
    );
    expect(unsigned.status).toBe(401);
    expect(codes()).toEqual(['missing_header']);
    const h2c = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk'];
    const other = await exchange(server.port, head('GET / HTTP/1.1', [`Host: ${server.authority}`, ...h2c]));
    expect(other.status).toBe(401);
    expect(handled).toBe(0);
    await expectServing();
  });

  it('CONNECT reaches no handler', async () => {
    const { headers } = await sign();
    await expect(exchange(server.port, head('CONNECT evil.example:443 HTTP/1.1', headers))).rejects.toThrow(
      'The connection ended without a response.',
    );
    expect(handled).toBe(0);
    await expectServing();
  });

  it('a request smuggled after a valid one is checked separately', async () => {
    const raw = await sign(post);
    const smuggled = head('GET /admin HTTP/1.1', [`Host: ${server.authority}`]);
    const client = await RawClient.connect(server.port);
    client.write(head(raw.line, [...raw.headers, length(raw)]), raw.body, smuggled);
    expect((await client.response()).body).toBe('in');
    expect((await client.response()).status).toBe(401);
    expect(handled).toBe(1);
    client.destroy();
  });
});
