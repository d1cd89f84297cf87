import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect as connectHttp2, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { afterAll, describe, expect, it } from 'vitest';
import { type Certificate, Front, type Handler } from '../../src/cli/src/proxy/front';
import { createHealth } from '../../src/cli/src/proxy/health';
import type { ProxyResponse } from '../../src/cli/src/proxy/reply';
import { createCertificate } from '../support/certificate';
import { http2Exchange } from '../support/http2';
import { RawHttp2Client } from '../support/raw-http2';

const { cert, key } = createCertificate('localhost');
const CERTIFICATE = { cert: Buffer.from(cert), key: Buffer.from(key) };
const SOON = { headersMs: 400, betweenMs: 400 };

const fronts: Front[] = [];
afterAll(() => Promise.all(fronts.splice(0).map((front) => front.end(0, Promise.resolve()))));

async function start(
  certificate?: Certificate,
  limits = SOON,
  handle: Handler['handle'] = () => {},
  upgrade: Handler['upgrade'] = async () => {},
) {
  const front = new Front({ handle, upgrade }, certificate, limits);
  fronts.push(front);
  front.server.listen(0, '127.0.0.1');
  await once(front.server, 'listening');
  return (front.server.address() as AddressInfo).port;
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** A frame of HTTP/2 without flags. */
const frame = (type: number, stream: number, payload: number[] = []) =>
  Buffer.from([0, 0, payload.length, type, 0, 0, 0, 0, stream, ...payload]);
const SETTINGS = frame(4, 0);
/** `:method: GET`, and no end of the headers. */
const HEADERS = frame(1, 1, [0x82]);

const plain = (port: number) => connect(port, '127.0.0.1');
const secure = (protocol: string) => (port: number) =>
  connectTls({ port, host: '127.0.0.1', ca: cert, ALPNProtocols: [protocol] });

describe('a connection that sends no complete request is closed', () => {
  const CASES: Readonly<Record<string, [open: (port: number) => Socket, bytes: Buffer]>> = {
    'nothing in HTTP/1.1': [plain, Buffer.alloc(0)],
    'half of the headers in HTTP/1.1': [plain, Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nA:')],
    'half of the headers in HTTP/1.1 over TLS': [secure('http/1.1'), Buffer.from('GET / HTTP/1.1\r\nA:')],
    'no handshake': [plain, Buffer.from([0x16, 3, 1])],
    'nothing in HTTP/2': [secure('h2'), Buffer.alloc(0)],
    'only settings in HTTP/2': [secure('h2'), Buffer.concat([PREFACE, SETTINGS])],
    'headers without an end in HTTP/2': [secure('h2'), Buffer.concat([PREFACE, SETTINGS, HEADERS])],
  };
  it.concurrent.each(Object.keys(CASES))('%s', { timeout: 20_000 }, async (name) => {
    const [open, bytes] = CASES[name] as [(port: number) => Socket, Buffer];
    const socket = open(await start(/in HTTP\/1\.1$/.test(name) ? undefined : CERTIFICATE));
    socket.on('error', () => {});
    socket.resume();
    socket.write(bytes);
    await once(socket, 'close');
  });
});

it('the address of --health closes such a connection, too, and serves others in the meantime', async () => {
  const server = createHealth(() => false, 400).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets = [
    '',
    'GET /health HTTP/1.1\r\nHost:',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx',
  ].map((bytes) => {
    const socket = plain(port);
    socket.on('error', () => {}).resume();
    socket.write(bytes);
    return socket;
  });
  expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
  await Promise.all(sockets.map((socket) => once(socket, 'close')));
  server.close();
}, 20_000);

it('keeps a session of HTTP/2 while a request waits, closes it some time later, and closes silent ones earlier', async () => {
  const waiting: ServerHttp2Stream[] = [];
  const port = await start(CERTIFICATE, { headersMs: 1500, betweenMs: 3000 }, (_, response) => {
    waiting.push((response as unknown as { stream: ServerHttp2Stream }).stream);
  });
  const open = async () => {
    const session = connectHttp2(`https://localhost:${port}`, { ca: cert });
    session.on('error', () => {});
    await once(session, 'connect');
    return session;
  };
  const session = await open();
  for (let turn = 0; turn < 2; turn++) {
    const stream = session.request({ ':path': '/' });
    stream.resume();
    await expect.poll(() => waiting.length).toBe(1);
    const silent = await open();
    await once(silent, 'close');
    expect([session.closed, session.destroyed]).toEqual([false, false]);
    waiting.pop()?.respond({ ':status': 200 }, { endStream: true });
    const [headers] = await once(stream, 'response');
    expect(headers[':status']).toBe(200);
    if (!stream.closed) await once(stream, 'close');
  }
  await once(session, 'close');
  const again = await open();
  again.destroy();
}, 20_000);

describe('CONNECT over HTTP/2 is refused as over HTTP/1.1', () => {
  const PLAIN = { ':method': 'CONNECT', ':authority': 'a.example:443' };
  const EXTENDED = { ...PLAIN, ':protocol': 'websocket', ':scheme': 'https', ':path': '/' };

  it.each<[string, OutgoingHttpHeaders, number]>([
    ['a tunnel', PLAIN, 405],
    ['a tunnel whose client waits', { ...PLAIN, expect: '100-continue' }, 405],
    ['a tunnel with an unknown expectation', { ...PLAIN, expect: 'a' }, 405],
    // The settings of the server do not offer RFC 8441, so a stream with :protocol or with :path is reset.
    ['a WebSocket', EXTENDED, 0],
    ['a tunnel with a path', { ...PLAIN, ':scheme': 'https', ':path': '/' }, 0],
  ])('%s', async (_, headers, status) => {
    const port = await start(CERTIFICATE, undefined, (_, response) => void response.end());
    const client = new RawHttp2Client(port, cert);
    expect(await client.request(headers, { endStream: false }).data('abc').status()).toBe(status);
    client.destroy();
    const reset = new RawHttp2Client(port, cert).request(headers, { endStream: false }).data('abc').reset();
    await once(reset.socket, 'data');
    reset.destroy();
    const next = new RawHttp2Client(port, cert);
    const plain = { ':method': 'GET', ':scheme': 'https', ':authority': 'localhost', ':path': '/' };
    expect(await next.request(plain).status()).toBe(200);
    next.destroy();
  });

  it('with the same body, and the session serves other requests', async () => {
    const port = await start(CERTIFICATE, undefined, (_, response) => void response.end());
    const session = connectHttp2(`https://localhost:${port}`, { ca: cert });
    const response = await http2Exchange(session, PLAIN);
    expect(response).toMatchObject({ status: 405, body: '{"error":"malformed_header"}' });
    expect(response.headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'no-store',
    });
    expect(await http2Exchange(session, { ':path': '/' })).toMatchObject({ status: 200 });
    // A client that leaves its half of the stream open does not keep it.
    const open = session.request(PLAIN, { endStream: false });
    open.resume();
    await once(open, 'close');
    session.destroy();
    for (const open of [plain, secure('http/1.1')]) {
      const socket = open(await start(open === plain ? undefined : CERTIFICATE));
      socket.write('CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n');
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 405 .*\r\n\r\n\{"error":"malformed_header"\}$/s);
    }
  });
});

describe.each([
  ['HTTP/1.1', plain, undefined],
  ['HTTP/1.1 over TLS', secure('http/1.1'), CERTIFICATE],
])('an upgrade or a CONNECT behind a request that is not answered yet, over %s', (_, open, certificate) => {
  const REQUEST = 'GET /late HTTP/1.1\r\nHost: a\r\n\r\n';
  const EXPECTING = 'GET / HTTP/1.1\r\nHost: a\r\nExpect: something\r\n\r\n'; // Node answers this one
  const UPGRADE = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const CONNECT = 'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n';

  async function serve() {
    const late: ProxyResponse[] = [];
    const handle: Handler['handle'] = (_, response) => void late.push(response);
    const upgrade: Handler['upgrade'] = async (_, socket) => void socket.end('HTTP/1.1 101 Upgraded\r\n\r\n');
    const socket = open(await start(certificate, SOON, handle, upgrade)).setEncoding('utf8');
    return { late, socket: socket.on('error', () => {}) };
  }

  it.each<[string, string, string, RegExp]>([
    ['one upgrade', REQUEST, UPGRADE, /^HTTP\/1\.1 200 OK.*first$/s],
    ['one CONNECT', REQUEST, CONNECT, /^HTTP\/1\.1 200 OK.*first$/s],
    ['several', REQUEST + EXPECTING, UPGRADE, /^HTTP\/1\.1 200 OK.*firstHTTP\/1\.1 417 .*\r\n\r\n$/s],
  ])('is answered after it: %s', async (_, before, last, answers) => {
    const { late, socket } = await serve();
    socket.write(before + last);
    const answered = text(socket);
    await expect.poll(() => late.length).toBe(1);
    late[0]?.writeHead(200, { 'content-length': 5 });
    (late[0] as ServerResponse).end('first');
    const [own = ''] = /HTTP\/1\.1 (?:101|405) .*$/s.exec(await answered) ?? [];
    expect(own).toMatch(last === CONNECT ? /^HTTP\/1\.1 405 / : /^HTTP\/1\.1 101 /);
    expect((await answered).slice(0, -own.length)).toMatch(answers);
  });

  it('ends with the connection, if that one takes too long', async () => {
    const { late, socket } = await serve();
    socket.write(REQUEST + UPGRADE);
    expect(await text(socket)).toBe('');
    expect(late).toHaveLength(1);
  });
});
