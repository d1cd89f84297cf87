import type { OutgoingHttpHeaders } from 'node:http2';
import { signRequest } from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Backend, linesOf, type Proxied, type RunningProxy, useProxied } from '../support/proxied';
import { head, RawClient } from '../support/raw-http';
import { RawHttp2Client } from '../support/raw-http2';
import { signedRaw } from '../support/signed-raw';

const createProxied = useProxied();
const EVIL = 'am_EVILEVILEVILEVIL';

let proxied: Proxied;
let backend: Backend;
let proxy: RunningProxy;
let secure: RunningProxy;
let ca: string;

beforeAll(async () => {
  proxied = await createProxied();
  backend = await new Backend().listen();
  proxy = await proxied.protect(backend.origin);
  const certificate = await proxied.certificate();
  ca = certificate.cert;
  secure = await proxied.protect(backend.origin, certificate.args);
}, 180_000);
afterAll(async () => {
  await Promise.all([proxy?.end(), secure?.end()]);
  backend?.close();
});
beforeEach(() => {
  backend.seen.length = 0;
});

/** A name as a server may read it that makes one character of all but letters and digits. */
const asVariable = (name: string) => name.toUpperCase().replace(/[^A-Z0-9]/g, '_');

/** What has to be true of each request that reached the server, whatever was sent. */
function expectOnlyVerified(): void {
  for (const seen of backend.seen) {
    expect(seen.target).toMatch(/^\/ok/);
    expect(linesOf(seen, 'authmesh-caller-id')).toEqual([proxied.callerId]);
    expect(linesOf(seen, 'authmesh-caller-first-id')).toEqual([proxied.callerId]);
    expect(linesOf(seen, 'authmesh-caller-name')).toEqual(['laptop']);
    expect(linesOf(seen, 'authmesh-caller-scopes')).toEqual(['']);
    const names = seen.lines.filter((_, i) => i % 2 === 0);
    const known = ['ID', 'FIRST_ID', 'NAME', 'SCOPES'].map((name) => `AUTHMESH_CALLER_${name}`);
    const own = names.map(asVariable).filter((name) => /^(?:X_)?AUTHMESH/.test(name));
    expect(own.toSorted()).toEqual(known.toSorted());
    expect(names.filter((name) => name.includes('_'))).toEqual([]);
    expect(seen.lines.join('\n')).not.toContain(EVIL);
  }
}

/** Sends bytes, and waits for the first answer, or for the end of the connection. */
async function send(...parts: string[]): Promise<number> {
  const client = await RawClient.connect(proxy.port);
  client.write(...parts);
  try {
    return (await client.response()).status;
  } catch {
    return 0;
  } finally {
    client.destroy();
  }
}

const authority = () => `127.0.0.1:${proxy.port}`;
const signed = (method = 'GET', body = '', target = '/ok') =>
  signedRaw(proxied.signer, authority(), { method, body, target });

/** Names that a caller has no right to. */
const NAMES = [
  'AuthMesh-Caller-Id',
  'AuthMesh-Caller-First-Id',
  'AuthMesh-Caller-Name',
  'AuthMesh-Caller-Scopes',
  'AuthMesh-Caller-Delegate',
  'AuthMesh-Caller-Other',
  'X-AuthMesh-Caller-Id',
  'X-AuthMesh-Scopes',
];

/** How such a name can be written, as lines of a head. */
const SPELLINGS: Readonly<Record<string, (name: string) => string[]>> = {
  'as it is': (name) => [`${name}: ${EVIL}`],
  'in lower case': (name) => [`${name.toLowerCase()}: ${EVIL}`],
  'in upper case': (name) => [`${name.toUpperCase()}: ${EVIL}`],
  'in mixed case': (name) => [`${name.replace(/[aeiou]/g, (c) => c.toUpperCase())}: ${EVIL}`],
  'with underscores': (name) => [`${name.replaceAll('-', '_')}: ${EVIL}`],
  'with one underscore': (name) => [`${name.replace(/-([^-]*)$/, '_$1')}: ${EVIL}`],
  'with dots': (name) => [`${name.replaceAll('-', '.')}: ${EVIL}`],
  'with other characters of a token': (name) => [`${name.replace('-', '~').replace('-', "'")}: ${EVIL}`],
  twice: (name) => [`${name}: ${EVIL}`, `${name}: ${EVIL}`],
  'twice in two cases': (name) => [`${name}: x`, `${name.toLowerCase()}: ${EVIL}`],
  'with a blank before the colon': (name) => [`${name} : ${EVIL}`],
  'with a tab before the colon': (name) => [`${name}\t: ${EVIL}`],
  'with a blank before it': (name) => [` ${name}: ${EVIL}`],
  'folded onto the line before': (name) => [`X-Other: a`, `\t${name}: ${EVIL}`],
  'with its value folded': (name) => [`${name}:`, ` ${EVIL}`],
  'after a bare line feed': (name) => [`X-Other: a\n${name}: ${EVIL}`],
  'after a bare carriage return': (name) => [`X-Other: a\r${name}: ${EVIL}`],
  'after a null': (name) => [`X-Other: a\0${name}: ${EVIL}`],
  'with a character beyond ASCII': (name) => [`${name}\xa0: ${EVIL}`],
  'named by Connection': (name) => [`Connection: keep-alive, ${name}`, `${name}: ${EVIL}`],
  'after more lines than Node keeps': (name) => [
    ...Array.from({ length: 2100 }, () => 'a:1'),
    `${name}: ${EVIL}`,
  ],
  'after many other lines': (name) => [...Array.from({ length: 900 }, () => 'a: 1'), `${name}: ${EVIL}`],
};

describe.each(Object.keys(SPELLINGS))('a header of the proxy itself, %s', (spelling) => {
  it.each(NAMES)('%s', async (name) => {
    const lines = (SPELLINGS[spelling] as (name: string) => string[])(name);
    const { line, headers } = await signed();
    const status = await send(head(line, [...headers, ...lines]));
    expectOnlyVerified();
    // Taken out, or the whole request is refused.
    expect([200, 400, 401, 431]).toContain(status);
    expect(backend.seen).toHaveLength(status === 200 ? 1 : 0);
    if (spelling.includes('underscore')) expect(status).toBe(400);
    // Without a signature nothing of it gets through.
    expect(await send(head('GET /ok HTTP/1.1', [`Host: ${authority()}`, ...lines]))).not.toBe(200);
    expect(backend.seen).toHaveLength(status === 200 ? 1 : 0);
  });
});

/** Request lines that mean something else to some readers. */
const LINES = [
  'GET http://evil.example/ok HTTP/1.1',
  'GET http://AUTHORITY/ok HTTP/1.1',
  'GET https://AUTHORITY/ok HTTP/1.1',
  'GET //evil.example/ok HTTP/1.1',
  'GET ok HTTP/1.1',
  'GET * HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'GET /ok#/other HTTP/1.1',
  'GET /ok/../other HTTP/1.1',
  'GET /ok/%2e%2e/other HTTP/1.1',
  'GET /ok\\..\\other HTTP/1.1',
  'GET /other HTTP/1.1',
  'GET /ok?x=1 HTTP/1.1',
  'GET /ok /other HTTP/1.1',
  'GET /ok HTTP/2.0',
  'GET /ok HTTP/0.9',
  'GET /ok',
  'CONNECT evil.example:443 HTTP/1.1',
  'CONNECT AUTHORITY HTTP/1.1',
  'TRACE /ok HTTP/1.1',
  'get /ok HTTP/1.1',
  'POST /ok HTTP/1.1',
  'PRI * HTTP/2.0',
];

describe('a request line that was not signed', () => {
  it.each(LINES)('%s', async (line) => {
    const { headers } = await signed();
    const sent = line.replace('AUTHORITY', authority());
    const status = await send(head(sent, headers), head(sent, [`Host: ${authority()}`]));
    expect(status).not.toBe(200);
    expect(backend.seen).toEqual([]);
  });
});

const HOSTS: readonly (readonly string[])[] = [
  ['Host: evil.example'],
  ['Host: evil.example', 'Host: AUTHORITY'],
  ['Host: AUTHORITY', 'Host: evil.example'],
  ['Host: AUTHORITY, evil.example'],
  ['Host: AUTHORITY/evil'],
  ['Host: user@AUTHORITY'],
  ['Host: '],
  [],
];

describe('a Host that was not signed', () => {
  it.each(HOSTS.map((lines) => [lines.join(' | '), lines] as const))('%s', async (_, lines) => {
    const { line, headers } = await signed();
    const hosts = lines.map((text) => text.replace('AUTHORITY', authority()));
    expect(await send(head(line, [...hosts, ...headers.slice(1)]))).not.toBe(200);
    expect(backend.seen).toEqual([]);
  });
});

/** A second request, in what two readers may take for a body or for more. */
const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: x\r\nAuthMesh-Caller-Id: ${EVIL}\r\n\r\n`;
const CHUNKED = `${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`;

/** How a length can be said twice, or in a way that readers take differently; and the bytes behind the head. */
const FRAMINGS: Readonly<Record<string, readonly [lines: readonly string[], bytes: string]>> = {
  'Content-Length next to chunked': [
    ['Content-Length: 4', 'Transfer-Encoding: chunked'],
    `0\r\n\r\n${SMUGGLED}`,
  ],
  'chunked next to Content-Length': [['Transfer-Encoding: chunked', 'Content-Length: 4'], CHUNKED],
  'two lengths': [['Content-Length: 0', `Content-Length: ${SMUGGLED.length}`], SMUGGLED],
  'one length twice': [['Content-Length: 0', 'Content-Length: 0'], SMUGGLED],
  'a list of lengths': [[`Content-Length: 0, ${SMUGGLED.length}`], SMUGGLED],
  'a length with a sign': [[`Content-Length: +${SMUGGLED.length}`], SMUGGLED],
  'a negative length': [['Content-Length: -1'], SMUGGLED],
  'a length in base 16': [['Content-Length: 0x10'], SMUGGLED],
  'a length with a blank': [['Content-Length: 1 0'], SMUGGLED],
  'an empty length': [['Content-Length: '], SMUGGLED],
  'a length beyond all numbers': [['Content-Length: 99999999999999999999999'], SMUGGLED],
  xchunked: [['Transfer-Encoding: xchunked'], CHUNKED],
  identity: [['Transfer-Encoding: identity'], SMUGGLED],
  'gzip, chunked': [['Transfer-Encoding: gzip, chunked'], CHUNKED],
  'chunked, gzip': [['Transfer-Encoding: chunked, gzip'], CHUNKED],
  'chunked, identity': [['Transfer-Encoding: chunked, identity'], CHUNKED],
  'chunked twice in a line': [['Transfer-Encoding: chunked, chunked'], CHUNKED],
  'chunked in two lines': [['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], CHUNKED],
  'chunked and identity in two lines': [
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    CHUNKED,
  ],
  'chunked with a blank before the colon': [['Transfer-Encoding : chunked'], CHUNKED],
  'chunked after a tab': [['Transfer-Encoding:\tchunked'], CHUNKED],
  'chunked with a vertical tab': [['Transfer-Encoding: \x0bchunked'], CHUNKED],
  'chunked in quotes': [['Transfer-Encoding: "chunked"'], CHUNKED],
  'chunked, folded': [['Transfer-Encoding:', ' chunked'], CHUNKED],
  'chunked with an underscore': [['Transfer_Encoding: chunked'], CHUNKED],
  'length with an underscore': [[`Content_Length: ${SMUGGLED.length}`], SMUGGLED],
  'chunked, named by Connection': [['Connection: Transfer-Encoding', 'Transfer-Encoding: chunked'], CHUNKED],
  'length, named by Connection': [
    [`Connection: Content-Length`, `Content-Length: ${SMUGGLED.length}`],
    SMUGGLED,
  ],
  'authorization, named by Connection': [['Connection: close, Authorization'], ''],
  'host, named by Connection': [['Connection: Host'], ''],
  'a chunk with a bare line feed': [['Transfer-Encoding: chunked'], `0\n\n${SMUGGLED}`],
  'a chunk size with a sign': [['Transfer-Encoding: chunked'], `+0\r\n\r\n${SMUGGLED}`],
  'a chunk size with a prefix': [['Transfer-Encoding: chunked'], `0x0\r\n\r\n${SMUGGLED}`],
  'a chunk extension with a line feed': [['Transfer-Encoding: chunked'], `0;a\n\r\n\r\n${SMUGGLED}`],
  trailers: [['Transfer-Encoding: chunked'], `0\r\nAuthMesh-Caller-Id: ${EVIL}\r\n\r\n`],
  'announced trailers': [
    ['Trailer: AuthMesh-Caller-Id', 'Transfer-Encoding: chunked'],
    `0\r\nAuthMesh-Caller-Id: ${EVIL}\r\n\r\n`,
  ],
  'an upgrade to h2c': [
    ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'],
    SMUGGLED,
  ],
  'an upgrade to anything': [['Connection: Upgrade', 'Upgrade: foo'], SMUGGLED],
  'an upgrade with a body': [
    ['Connection: Upgrade', 'Upgrade: websocket', `Content-Length: ${SMUGGLED.length}`],
    SMUGGLED,
  ],
  'a length after more lines than Node keeps': [
    [...Array.from({ length: 2100 }, () => 'a:1'), `Content-Length: ${SMUGGLED.length}`],
    SMUGGLED,
  ],
  'chunked after more lines than Node keeps': [
    [...Array.from({ length: 2100 }, () => 'a:1'), 'Transfer-Encoding: chunked'],
    CHUNKED,
  ],
  'Expect of something else': [['Expect: 200-maybe', 'Content-Length: 4'], 'abcd'],
};

describe('a length that readers could take differently', () => {
  it.each(Object.keys(FRAMINGS))('%s', async (name) => {
    const [lines, bytes] = FRAMINGS[name] as (typeof FRAMINGS)[string];
    for (const method of ['POST', 'GET']) {
      const { line, headers } = await signed(method);
      const client = await RawClient.connect(proxy.port);
      client.write(head(line, [...headers, ...lines]), bytes, SMUGGLED);
      // Whatever comes: the server behind may see what was signed, and nothing else.
      const first = await client.response().catch(() => null);
      if (first !== null && first.status === 200) await client.response().catch(() => null);
      client.destroy();
      expectOnlyVerified();
      expect(backend.seen.filter(({ body }) => body !== '')).toEqual([]);
    }
    expect(backend.seen.length).toBeLessThanOrEqual(2);
  });
});

describe('a request without a body', () => {
  it.each(['QUERY', 'PROPFIND', 'PURGE', 'REPORT', 'LINK'])(
    'has none at the next server: %s',
    async (method) => {
      const { line, headers } = await signed(method);
      expect(await send(head(line, headers))).toBe(200);
      const [seen] = backend.seen;
      expect(seen && [linesOf(seen, 'content-length'), linesOf(seen, 'transfer-encoding')]).toEqual([
        ['0'],
        [],
      ]);
    },
  );
});

describe('a signature that has counted', () => {
  it('is refused in any other form: as an upgrade, with another framing, or with Expect', async () => {
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket'];
    const shapes = [
      [['Content-Length: 4'], 'abcd'],
      [['Transfer-Encoding: chunked'], '4\r\nabcd\r\n0\r\n\r\n'],
      [['Content-Length: 4', 'Expect: 100-continue'], 'abcd'],
    ] as const;
    for (const [first] of shapes.entries()) {
      const { line, headers } = await signed('POST', 'abcd');
      const order = [...shapes.slice(first), ...shapes.slice(0, first)];
      const statuses = [];
      for (const [lines, bytes] of order)
        statuses.push(await send(head(line, [...headers, ...lines]), bytes));
      // 100 is the first of the two answers to Expect.
      expect(statuses.map((status) => (status === 100 ? 200 : status))).toEqual([200, 401, 401]);
    }
    for (const [first, second] of [
      [[], upgrade],
      [upgrade, []],
    ] as const) {
      const { line, headers } = await signed();
      expect(await send(head(line, [...headers, ...first]))).toBe(200);
      expect(await send(head(line, [...headers, ...second]))).toBe(401);
    }
    expect(backend.seen).toHaveLength(5);
    expectOnlyVerified();
  });
});

describe('a request on the connection of another one', () => {
  it('needs a signature of its own', async () => {
    const { line, headers } = await signed();
    const client = await RawClient.connect(proxy.port);
    client.write(
      head(line, headers),
      head('GET /ok HTTP/1.1', [`Host: ${authority()}`]),
      head(line, headers),
    );
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push((await client.response()).status);
    client.destroy();
    expect(statuses).toEqual([200, 401, 401]); // the third one is a replay
    expect(backend.seen).toHaveLength(1);
    expectOnlyVerified();
  });
});

/** Headers of HTTP/2 beside those that were signed. */
const H2: Readonly<Record<string, OutgoingHttpHeaders>> = {
  'a host of somebody else': { host: 'evil.example' },
  'only a host of somebody else': { ':authority': undefined, host: 'evil.example' },
  'another :authority': { ':authority': 'evil.example' },
  'another :path': { ':path': '/other' },
  'an absolute :path': { ':path': 'http://evil.example/ok' },
  'an empty :path': { ':path': '' },
  ':path with two slashes': { ':path': '//evil.example/ok' },
  'another :method': { ':method': 'DELETE' },
  'another :scheme': { ':scheme': 'http' },
  ':protocol, which makes it a WebSocket': { ':method': 'CONNECT', ':protocol': 'websocket' },
  CONNECT: { ':method': 'CONNECT', ':scheme': undefined, ':path': undefined },
  'CONNECT for somebody else': {
    ':method': 'CONNECT',
    ':scheme': undefined,
    ':path': undefined,
    ':authority': 'evil.example:443',
  },
  'CONNECT with :path': { ':method': 'CONNECT' },
  'CONNECT that waits': {
    ':method': 'CONNECT',
    ':scheme': undefined,
    ':path': undefined,
    expect: '100-continue',
  },
  'an unknown pseudo-header': { ':authmesh-caller-id': EVIL },
  'a caller id': { 'authmesh-caller-id': EVIL },
  'a caller id with underscores': { authmesh_caller_id: EVIL },
  'a caller id with dots': { 'authmesh.caller.id': EVIL },
  'a caller id of the other kind': { 'x-authmesh-caller-id': EVIL },
  'several caller ids': { 'authmesh-caller-id': [EVIL, EVIL] },
  connection: { connection: 'authmesh-target' },
  'transfer-encoding': { 'transfer-encoding': 'chunked' },
  upgrade: { upgrade: 'websocket' },
  'keep-alive': { 'keep-alive': '5' },
  'proxy-connection': { 'proxy-connection': 'keep-alive' },
  'te of something': { te: 'gzip' },
  'a line break in a value': { 'x-other': `a\r\nauthmesh-caller-id: ${EVIL}` },
  'a null in a value': { 'x-other': 'a\0b' },
  'a name with a colon': { 'x:authmesh-caller-id': EVIL },
  'a length that is wrong': { 'content-length': '5' },
  'announced trailers': { trailer: 'authmesh-caller-id' },
};

describe('over HTTP/2', () => {
  const exchange = async (more: OutgoingHttpHeaders, isSigned = true) => {
    const host = `127.0.0.1:${secure.port}`;
    const view = { method: 'GET', target: '/ok', authority: host, headers: {} };
    const { headers } = isSigned ? await signRequest(view, proxied.signer) : view;
    const client = new RawHttp2Client(secure.port, ca);
    const own = { ':method': 'GET', ':scheme': 'https', ':authority': host, ':path': '/ok' };
    try {
      return await client.request({ ...own, ...headers, ...more }).status();
    } finally {
      client.destroy();
    }
  };

  it('passes on what was signed, with a Host, and one line of cookies', async () => {
    expect(await exchange({ cookie: ['a=1', 'b=2'] })).toBe(200);
    expectOnlyVerified();
    const [seen] = backend.seen;
    expect(seen && linesOf(seen, 'host')).toEqual([`127.0.0.1:${secure.port}`]);
    expect(seen && linesOf(seen, 'cookie')).toEqual(['a=1; b=2']);
    expect(seen?.lines.filter((text) => text.startsWith(':'))).toEqual([]);
    expect(seen && linesOf(seen, 'x-forwarded-proto')).toEqual(['https']);
  });

  it.each(Object.keys(H2))('%s', async (name) => {
    const more = H2[name] as OutgoingHttpHeaders;
    const status = await exchange(more);
    expectOnlyVerified();
    expect(backend.seen).toHaveLength(status === 200 ? 1 : 0);
    expect(await exchange(more, false)).not.toBe(200);
    expect(backend.seen).toHaveLength(status === 200 ? 1 : 0);
  });
});

it('has at least 200 cases', () => {
  const spelt = Object.keys(SPELLINGS).length * NAMES.length;
  const others = [LINES, HOSTS, Object.keys(FRAMINGS), Object.keys(H2)];
  expect(others.reduce((sum, { length }) => sum + length, spelt)).toBeGreaterThan(200);
});
