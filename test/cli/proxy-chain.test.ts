import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { blocksOf } from '../docs/blocks';
import { times } from '../support/full';
import { isAbsent, type Language, languageOf } from '../support/languages';
import { Backend, linesOf, type Proxied, type RunningProxy, type Seen, useProxied } from '../support/proxied';
import { exchange, head, RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';
import { BIN } from './amesh';

const createProxied = useProxied();
const MIB = 1_048_576;
/** Whether the system tells what a process has open, and how much memory. */
const measured = existsSync('/proc/self/status');

/** What the server behind does at each path. */
const ROUTES: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => unknown>> = {
  '/events': (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: 1\n\n');
    opened.push(response);
  },
  '/broken': (request, response) => {
    response.writeHead(200, { 'content-length': request.url?.split('=')[1] });
    response.write('half', () => response.destroy());
  },
  '/moved': (request, response) => {
    const host = request.headers.host;
    response.writeHead(302, { location: `http://${host}/new?x=1`, 'content-length': 0 }).end();
  },
  '/doubled': (request, response) => {
    const host = request.headers.host;
    response.writeHead(302, { location: `http://${host}//evil.example/new`, 'content-length': 0 }).end();
  },
  '/early': (_, response) => {
    response.writeHead(413, { 'content-length': 5 }).end('early');
  },
  '/strange': (_, response) => {
    response.writeHead(799, { 'content-length': 2 }).end('no');
  },
  '/switched': (_, response) => {
    response.socket?.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
  },
  '/coded': (_, response) => {
    response.socket?.end(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    );
  },
  '/line': (request, response) => {
    const line = decodeURIComponent(request.url?.split('?')[1] ?? '');
    response.socket?.end(`HTTP/1.1 200 OK\r\n${line}\r\nContent-Length: 2\r\n\r\n{}`);
  },
  '/elsewhere': (_, response) => {
    response.writeHead(302, { location: 'http://other.example/new', 'content-length': 0 }).end();
  },
  '/cookies': (_, response) => {
    const head = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Connection', 'close, X-Hop', 'X-Hop', '1'];
    response.writeHead(200, [...head, 'AuthMesh-Forged', 'x', 'Content-Length', '2']).end('{}');
  },
  '/chunked': (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write('{"a":');
    setImmediate(() => response.end('1}'));
  },
  '/hash': async (request, response) => {
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      for await (const chunk of request) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      response.end(
        JSON.stringify({ bytes, sha256: hash.digest('hex'), length: request.headers['content-length'] }),
      );
    } catch {
      broken.push(bytes);
    }
  },
  '/zeros': (request, response) => {
    const bytes = Number(new URL(request.url ?? '', 'http://x').searchParams.get('bytes'));
    response.writeHead(200, { 'content-length': bytes });
    const block = Buffer.alloc(65_536);
    let left = bytes;
    const write = () => {
      while (left > 0) {
        const chunk = block.subarray(0, Math.min(left, block.length));
        left -= chunk.length;
        if (!response.write(chunk)) break;
      }
      if (left === 0) response.end();
    };
    response.on('drain', write);
    response.on('close', () => closed.push(left));
    write();
  },
  '/late': (_, response) => {
    opened.push(response);
  },
};

/** Responses that wait for the test. */
const opened: ServerResponse[] = [];
/** How many bytes were there of each body that broke off. */
const broken: number[] = [];
/** How many bytes were not written of each answer that ended. */
const closed: number[] = [];

let proxied: Proxied;
let backend: Backend;
let inward: RunningProxy;
let outward: RunningProxy;
/** Passes on what only the head is signed of. */
let lenient: RunningProxy;
let sockets: WebSocketServer;

beforeAll(async () => {
  proxied = await createProxied();
  backend = await new Backend((request, response) => {
    const route = ROUTES[new URL(request.url ?? '/', 'http://x').pathname];
    const seen = backend.note(request);
    if (route !== undefined) {
      void route(request, response);
      return;
    }
    request.on('data', (chunk) => {
      seen.body += chunk;
    });
    request.on('end', () => response.end(JSON.stringify(seen)));
  }).listen();
  sockets = new WebSocketServer({ server: backend.server, path: '/socket' });
  sockets.on('connection', (socket, upgrade) => {
    socket.send(`hello ${upgrade.headers['authmesh-caller-name']}`);
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  });
  inward = await proxied.protect(backend.origin);
  outward = await proxied.to(inward.origin);
  lenient = await proxied.to(inward.origin, ['--allow-unproven-bodies']);
}, 180_000);
afterAll(async () => {
  for (const response of opened) response.destroy();
  for (const client of sockets?.clients ?? []) client.terminate();
  expect(await Promise.all([inward?.end(), outward?.end(), lenient?.end()])).toEqual([0, 0, 0]);
  backend?.close();
});
beforeEach(() => {
  backend.seen.length = 0;
  opened.length = 0;
  broken.length = 0;
  closed.length = 0;
});

/** A program, with what it has printed. */
function run(command: string, args: readonly string[], env = {}): Promise<{ code: number; stdout: string }> {
  return new Promise((resolve) => {
    const options = { maxBuffer: 64 * MIB, env: { ...process.env, ...env } };
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = typeof error?.code === 'number' ? error.code : error === null ? 0 : -1;
      resolve({ code, stdout: code === 0 ? stdout : `${stdout}${stderr}` });
    });
  });
}

const curl = (...args: string[]) => run('curl', ['-sS', '--max-time', '60', ...args]);

/** A request of node:http through a proxy. */
function ask(proxy: RunningProxy, target: string, options: object = {}): ClientRequest {
  return request({ host: '127.0.0.1', port: proxy.port, path: target, ...options });
}

async function answerOf(sent: ClientRequest): Promise<IncomingMessage & { text: string }> {
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return Object.assign(answer, { text: await text(answer) });
}

const first = (): Seen => backend.seen[0] as Seen;

describe('curl', () => {
  it('is signed, and the server behind the proxy knows who called', async () => {
    const { code, stdout } = await curl(
      ...['-X', 'POST', '-H', 'content-type: application/json', '-d', '{"amount":100}'],
      `${outward.origin}/orders?b=2&a=%2F&q=O'Brien`,
    );
    expect([code, JSON.parse(stdout)]).toMatchObject([0, { method: 'POST', body: '{"amount":100}' }]);
    expect(first().target).toBe('/orders?b=2&a=%2F&q=O%27Brien'); // as every URL has it
    expect(linesOf(first(), 'AuthMesh-Caller-Id')).toEqual([proxied.callerId]);
    expect(linesOf(first(), 'AuthMesh-Caller-Name')).toEqual(['laptop']);
    expect(linesOf(first(), 'Content-Length')).toEqual(['14']);
    expect(linesOf(first(), 'Authorization')).toEqual([]);
    expect(linesOf(first(), 'Accept-Signature')).toEqual([]);
  });

  it('uploads with 100-continue, and in chunks', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-upload-'));
    const file = join(dir, 'file');
    const bytes = randomBytes(3 * MIB);
    await writeFile(file, bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    for (const header of ['Expect: 100-continue', 'Transfer-Encoding: chunked']) {
      const { stdout } = await curl('-T', file, '-H', header, `${outward.origin}/hash`);
      // Its length is known once it is here, so servers that take no chunks get one.
      expect(JSON.parse(stdout)).toEqual({ bytes: bytes.length, sha256, length: String(bytes.length) });
    }
    await rm(dir, { recursive: true });
  });

  it('keeps its own Authorization, cookies and doubled headers', async () => {
    const headers = ['Authorization: Bearer abc', 'Cookie: a=1', 'X-Two: 1', 'X-Two: 2', 'X-Empty;'];
    const { stdout } = await curl(...headers.flatMap((line) => ['-H', line]), `${outward.origin}/x`);
    expect(JSON.parse(stdout).lines).toEqual(first().lines);
    expect(linesOf(first(), 'authorization')).toEqual(['Bearer abc']);
    expect(linesOf(first(), 'x-two')).toEqual(['1', '2']);
    expect(linesOf(first(), 'x-empty')).toEqual(['']);
    expect(linesOf(first(), 'cookie')).toEqual(['a=1']);
  });

  it('follows a redirect within the target through the proxy, and sees any other redirect', async () => {
    const followed = await curl('-L', `${outward.origin}/moved`);
    expect(JSON.parse(followed.stdout)).toMatchObject({ target: '/new?x=1' });
    // A path with two slashes must not become a host.
    const doubled = await curl('-w', '%{redirect_url}', '-o', '/dev/null', `${outward.origin}/doubled`);
    expect(doubled.stdout).toBe(`${outward.origin}//evil.example/new`);
    const { stdout } = await curl('-D-', '-o', '/dev/null', `${outward.origin}/elsewhere`);
    expect(stdout).toContain('location: http://other.example/new');
  });

  it('gets each Set-Cookie, and no header of a single connection or of amesh', async () => {
    const { stdout } = await curl('-D-', '-o', '/dev/null', `${outward.origin}/cookies`);
    expect(stdout.match(/set-cookie: \S+/gi)).toEqual(['Set-Cookie: a=1', 'Set-Cookie: b=2']);
    expect(stdout).not.toMatch(/x-hop|forged/i);
  });

  it('gets a proven answer of unknown length in one piece', async () => {
    const { code, stdout } = await curl(`${outward.origin}/chunked`);
    expect([code, stdout]).toEqual([0, '{"a":1}']);
  });

  it('gets events as they arrive, if unproven bodies are allowed', async () => {
    const answer = ask(lenient, '/events').end();
    const [response] = (await once(answer, 'response')) as [IncomingMessage];
    const [chunk] = await once(response, 'data');
    expect(String(chunk)).toBe('data: 1\n\n');
    opened[0]?.end('data: 2\n\n');
    expect(await text(response)).toBe('data: 2\n\n');
    // The other proxy proves what it passes on.
    const { code } = await curl('-N', `${outward.origin}/events`);
    expect(code).not.toBe(0);
  });
});

describe('docs/proxy.md', () => {
  it('has a first request that works, over a socket that only this user can use', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-docs-'));
    await symlink(BIN, join(dir, 'amesh'));
    const block = blocksOf('docs/proxy.md').find(({ text }) => text.includes('--unix-socket'));
    const path = join(dir, 'orders.sock');
    const script = (block?.text ?? '')
      .replaceAll('/tmp/orders.sock', path)
      .replace('http://localhost:3000', inward.origin)
      .replace('curl', `stat -c %a ${path}; curl`);
    const env = { ...proxied.caller.env(), PATH: `${dir}:${process.env.PATH}` };
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', `${script}wait`], env);
    const [mode, answer = ''] = stdout.split('\n');
    expect([mode, JSON.parse(answer)]).toMatchObject([
      '600',
      { body: '{"amount":100}', target: '/api/orders' },
    ]);
    expect(existsSync(path)).toBe(false);
    await rm(dir, { recursive: true });
  });
});

/** A program that knows nothing of amesh: it asks, sends JSON, and uploads. */
const PROGRAMS: Readonly<Record<string, string>> = {
  python: `
import hashlib, json, os, urllib.request
base = os.environ['ORDERS_URL']
def call(path, data=None, headers={}):
    return json.load(urllib.request.urlopen(urllib.request.Request(base + path, data=data, headers=headers)))
print(call('/orders?id=7')['target'])
print(call('/orders', json.dumps({'amount': 100}).encode(), {'Content-Type': 'application/json'})['body'])
body = os.urandom(2 << 20)
print(call('/hash', body)['sha256'] == hashlib.sha256(body).hexdigest())
print(call('/hash', iter([body, body]), {'Transfer-Encoding': 'chunked'})['bytes'])
`,
  go: `package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func call(method, path string, body io.Reader) map[string]any {
	request, err := http.NewRequest(method, os.Getenv("ORDERS_URL")+path, body)
	if err != nil {
		panic(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	var found map[string]any
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		panic(err)
	}
	return found
}

func main() {
	fmt.Println(call("GET", "/orders?id=7", nil)["target"])
	fmt.Println(call("POST", "/orders", strings.NewReader(\`{"amount": 100}\`))["body"])
	big := bytes.Repeat([]byte("a"), 2<<20)
	fmt.Println(call("PUT", "/hash", bytes.NewReader(big))["bytes"].(float64) == 2097152)
	fmt.Println(int(call("PUT", "/hash", io.MultiReader(bytes.NewReader(big), bytes.NewReader(big)))["bytes"].(float64)))
}
`,
};

describe.each(['python', 'go'])('a program in %s', (name) => {
  const language = languageOf(name) as Language;
  it.skipIf(isAbsent(language))('is signed without a change', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-program-'));
    const file = join(dir, name === 'go' ? 'main.go' : 'main.py');
    await writeFile(file, PROGRAMS[name] as string);
    const [command, ...args] = language.command;
    const { stdout } = await run(command, [...args, file], { ORDERS_URL: outward.origin });
    expect(stdout.toLowerCase()).toBe('/orders?id=7\n{"amount": 100}\ntrue\n4194304\n');
    for (const seen of backend.seen) expect(linesOf(seen, 'authmesh-caller-name')).toEqual(['laptop']);
    await rm(dir, { recursive: true });
  });
});

describe('a WebSocket', () => {
  it('is signed and verified with its handshake, and then works in both directions', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${outward.port}/socket`);
    const messages: string[] = [];
    socket.on('message', (data) => messages.push(String(data)));
    await expect.poll(() => messages).toEqual(['hello laptop']);
    const large = randomBytes(300_000).toString('base64');
    socket.send('one');
    socket.send(large);
    await expect.poll(() => messages.length).toBe(3);
    expect(messages.slice(1)).toEqual(['one', large]);
    socket.close(1000);
    expect((await once(socket, 'close'))[0]).toBe(1000);
  });

  it('ends on both sides when one of them breaks off', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${outward.port}/socket`);
    await once(socket, 'open');
    const [atServer] = [...sockets.clients].slice(-1);
    const ended = once(atServer as WebSocket, 'close');
    socket.terminate();
    await ended;
    const second = new WebSocket(`ws://127.0.0.1:${outward.port}/socket`);
    await once(second, 'message');
    for (const client of sockets.clients) client.terminate();
    await once(second, 'close');
  });

  it('is refused without a signature, with a wrong one, and as a replay', async () => {
    const authority = `127.0.0.1:${inward.port}`;
    const wanted = {
      ...{ connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' },
      'sec-websocket-key': randomBytes(16).toString('base64'),
    };
    const lines = Object.entries(wanted).map(([name, value]) => `${name}: ${value}`);
    const unsigned = [`Host: ${authority}`, ...lines];
    expect((await exchange(inward.port, head('GET /socket HTTP/1.1', unsigned))).status).toBe(401);
    const signed = await signedRaw(proxied.signer, authority, { target: '/socket', headers: wanted });
    const other = head('GET /socket?x HTTP/1.1', signed.headers);
    expect((await exchange(inward.port, other)).status).toBe(401);
    expect((await exchange(inward.port, head(signed.line, signed.headers))).status).toBe(101);
    expect((await exchange(inward.port, head(signed.line, signed.headers))).status).toBe(401);
  });

  it('gets the response of the server if that refuses the upgrade', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${outward.port}/no-socket`);
    const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(answer.statusCode).toBe(400); // of ws
    answer.destroy();
  });
});

describe('100-continue', () => {
  it('is sent once the request is verified, before its body', async () => {
    const body = 'x'.repeat(100);
    const signed = await signedRaw(proxied.signer, `127.0.0.1:${inward.port}`, { method: 'POST', body });
    const expecting = ['Expect: 100-continue', `Content-Length: ${body.length}`];
    const client = await RawClient.connect(inward.port);
    client.write(head(signed.line, [...signed.headers, ...expecting]));
    expect((await client.response()).status).toBe(100);
    expect(backend.seen).toEqual([]);
    client.write(body);
    expect((await client.response()).status).toBe(200);
    expect(first().body).toBe(body);
    expect(linesOf(first(), 'expect')).toEqual([]);
    client.destroy();
    const stranger = head('POST / HTTP/1.1', [`Host: 127.0.0.1:${inward.port}`, ...expecting]);
    expect((await exchange(inward.port, stranger)).status).toBe(401);
  });
});

describe('an end in the middle', () => {
  it('of a response reaches the client', async () => {
    // An answer that is held back to be signed is none yet.
    const { stdout } = await curl(`${outward.origin}/broken?bytes=1000`);
    expect(stdout).toBe('{"error":"server_unreachable"}');
    const { code } = await curl(`${lenient.origin}/broken?bytes=${2 * MIB}`);
    expect(code).toBe(18); // a partial file
  });

  it('by a client that uploads reaches the server, which has seen nothing of the body', async () => {
    const sent = ask(outward, '/hash', { method: 'POST', headers: { 'content-length': 5 * MIB } });
    sent.on('error', () => {});
    sent.write(Buffer.alloc(2 * MIB));
    await once(sent, 'socket');
    sent.destroy();
    expect((await curl(`${outward.origin}/after`)).code).toBe(0);
    expect(backend.seen.map(({ target }) => target)).toEqual(['/after']);
  });

  it('by a client that downloads reaches the server', async () => {
    const sent = ask(lenient, `/zeros?bytes=${200 * MIB}`).end();
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    await once(answer, 'data');
    answer.destroy();
    await expect.poll(() => closed.length).toBe(1);
    expect(closed[0]).toBeGreaterThan(0); // it was held back, too
  });

  it('by a client that waits reaches the server', async () => {
    const sent = ask(outward, '/late').end();
    sent.on('error', () => {});
    await expect.poll(() => opened.length).toBe(1);
    const gone = once(opened[0] as ServerResponse, 'close');
    sent.destroy();
    await gone;
  });
});

describe('a header line without a value', () => {
  const NONE = ['Content-Encoding:', 'Content-Encoding: ,', 'Content-Encoding: identity, Identity,'];
  const others = ['Content-Type', 'ETag', 'Link', 'Set-Cookie', 'Content-Range', 'Age', 'X-Own'];
  const ofOneConnection = ['Trailer', 'Keep-Alive', 'Upgrade', 'TE', 'Proxy-Connection'];
  /** Through the proxy that has answers proven, as it would be on the wire. */
  const sent = async (lines: readonly string[], target = '/', bytes = '') => {
    const client = await RawClient.connect(outward.port);
    const own = bytes === '' ? [] : [`Content-Length: ${bytes.length}`];
    const method = bytes === '' ? 'GET' : 'POST';
    client.write(
      head(`${method} ${target} HTTP/1.1`, [`Host: 127.0.0.1:${outward.port}`, ...lines, ...own]),
      bytes,
    );
    const answer = await client.response();
    client.destroy();
    return answer;
  };

  it.each([...NONE, ...others.map((name) => `${name}:`)])('of an answer goes on: %s', async (line) => {
    const { status, headers, body } = await sent([], `/line?${encodeURIComponent(line)}`);
    expect([status, String(body)]).toEqual([200, '{}']);
    const [name = '', value = ''] = line.split(': ');
    expect(headers[name.toLowerCase().replace(':', '')]).toBe(value.trim());
  });

  it.each(ofOneConnection)(
    'of a response that belongs to its connection is not passed on: %s',
    async (name) => {
      const { status, body } = await sent([], `/line?${name}:`);
      expect([status, String(body)]).toEqual([200, '{}']);
    },
  );

  it('of a response adds nothing to the Vary of verify()', async () => {
    const { status, headers } = await sent([], '/line?Vary:');
    expect([status, headers.vary]).toEqual([200, 'Authorization, Signature-Input']);
  });

  it('of a response that leaves its end open is 502', async () => {
    for (const line of ['Content-Length:', 'Transfer-Encoding:'])
      expect((await sent([], `/line?${line}`)).status).toBe(502);
  });

  it.each(['Content-Encoding', 'Content-Type', 'Cookie', 'Authorization', 'X-Own'])(
    'of a request is passed on: %s',
    async (name) => {
      for (const bytes of ['', 'x']) expect((await sent([`${name}:`], '/', bytes)).status).toBe(200);
      expect(backend.seen.map((seen) => linesOf(seen, name))).toEqual([[''], ['']]);
    },
  );

  it.each([...ofOneConnection, 'Connection'])(
    'of a request, and only of its connection, is not passed on: %s',
    async (name) => {
      for (const bytes of ['', 'x']) expect((await sent([`${name}:`], '/', bytes)).status).toBe(200);
      expect(backend.seen.flatMap((seen) => linesOf(seen, name))).not.toContain('');
    },
  );

  it.each(['Content-Length', 'Transfer-Encoding'])(
    'of a request that leaves its end open is 400: %s',
    async (name) => {
      for (const bytes of ['', 'x']) expect((await sent([`${name}:`], '/', bytes)).status).toBe(400);
      expect(backend.seen).toEqual([]);
    },
  );
});

describe('what a program must not do with the key of this machine', () => {
  const own = () => `127.0.0.1:${outward.port}`;
  const CASES: Readonly<Record<string, () => [line: string, lines: string[], status: number]>> = {
    'another Host': () => ['GET / HTTP/1.1', ['Host: evil.example'], 421],
    'a name that leads to loopback': () => ['GET / HTTP/1.1', [`Host: evil.example:${outward.port}`], 421],
    'another port': () => ['GET / HTTP/1.1', ['Host: 127.0.0.1:1'], 421],
    'no Host': () => ['GET / HTTP/1.1', [], 400],
    'two Hosts': () => ['GET / HTTP/1.1', [`Host: ${own()}`, 'Host: evil.example'], 400],
    'an absolute form of another host': () => ['GET http://evil.example/ HTTP/1.1', [`Host: ${own()}`], 421],
    'an absolute form of another scheme': () => [`GET https://${own()}/ HTTP/1.1`, [`Host: ${own()}`], 421],
    'an absolute form with a user': () => [
      `GET http://a@127.0.0.1:${inward.port}/ HTTP/1.1`,
      [`Host: ${own()}`],
      421,
    ],
    CONNECT: () => ['CONNECT evil.example:443 HTTP/1.1', [`Host: ${own()}`], 405],
    'a page of another site': () => [
      'GET / HTTP/1.1',
      [`Host: ${own()}`, 'Origin: http://evil.example'],
      403,
    ],
    'a page without an origin': () => ['POST / HTTP/1.1', [`Host: ${own()}`, 'Origin: null'], 403],
    'a link of another site': () => ['GET / HTTP/1.1', [`Host: ${own()}`, 'Sec-Fetch-Site: cross-site'], 403],
    'a page of another port': () => ['GET / HTTP/1.1', [`Host: ${own()}`, 'Sec-Fetch-Site: same-site'], 403],
    'a path that a URL cannot have': () => ['GET /a/../b HTTP/1.1', [`Host: ${own()}`], 400],
    'a path with a backslash': () => ['GET /a\\b HTTP/1.1', [`Host: ${own()}`], 400],
    'a header with an underscore': () => ['GET / HTTP/1.1', [`Host: ${own()}`, 'a_b: c'], 400],
    'a signature of its own': () => [
      'GET / HTTP/1.1',
      [`Host: ${own()}`, 'Authorization: AuthMesh v="2"'],
      400,
    ],
    'a signature of its own in the other form': () => [
      'GET / HTTP/1.1',
      [
        `Host: ${own()}`,
        'Signature-Input: amesh=("@method");created=1;tag="amesh"',
        'Signature: amesh=:AA==:',
      ],
      400,
    ],
    'a method that cannot be signed': () => ['TRACE / HTTP/1.1', [`Host: ${own()}`], 400],
    'a length after more lines than Node keeps': () => [
      'POST / HTTP/1.1',
      [`Host: ${own()}`, ...Array.from({ length: 2100 }, () => 'a:1'), 'Content-Length: 0'],
      400,
    ],
    'the label of amesh in the signature of another': () => [
      'GET / HTTP/1.1',
      [`Host: ${own()}`, 'Authorization: Bearer x', 'Signature-Input: amesh=()', 'Signature: amesh=:AA==:'],
      400,
    ],
    'a GET with a body': () => ['GET / HTTP/1.1', [`Host: ${own()}`, 'Content-Length: 1'], 400],
    'an upgrade to h2c': () => [
      'GET / HTTP/1.1',
      [`Host: ${own()}`, 'Connection: Upgrade', 'Upgrade: h2c'],
      400,
    ],
  };
  it.each(Object.keys(CASES))('%s', async (name) => {
    const [line, lines, status] = (CASES[name] as () => [string, string[], number])();
    expect((await exchange(outward.port, head(line, lines))).status).toBe(status);
    expect(backend.seen).toEqual([]);
  });

  it('reads the path of an absolute form from the end of its host', async () => {
    const at = `127.0.0.1:${inward.port}`;
    for (const [sent, target] of [
      [`http://${at}?next=/admin/delete`, '/?next=/admin/delete'],
      [`http://${at}`, '/'],
      [`HTTP://${at}/a//b?c=//d/%7e`, '/a//b?c=//d/%7e'],
    ] as const) {
      await exchange(outward.port, head(`GET ${sent} HTTP/1.1`, [`Host: ${own()}`]));
      expect(
        backend.seen.splice(0).map((seen) => seen.target),
        sent,
      ).toEqual([target]);
    }
    for (const sent of [
      `http:/${at}/x`,
      `http:${at}/x`,
      `http:///${at}/x`,
      `http://${at}\\x`,
      `http://${at}#/x`,
    ]) {
      const { status } = await exchange(outward.port, head(`GET ${sent} HTTP/1.1`, [`Host: ${own()}`]));
      expect([400, 421], sent).toContain(status);
      expect(backend.seen, sent).toEqual([]);
    }
  });

  it('logs no password and no query of a URL that leads elsewhere', async () => {
    const front = await proxied.to(inward.origin);
    const host = `Host: 127.0.0.1:${front.port}`;
    const sent: [string, string][] = [
      ['GET http://bob:hunter2@other.example/x?api_key=hunter2', host],
      ['GET http://other.example?hunter2=/hunter2', host],
      ['GET foo://bob:hunter2@other.example/x#hunter2', host],
      [`GET http://bob:hunter2@127.0.0.1:${inward.port}/x`, host],
      ['GET /x?hunter2', 'Host: bob:hunter2@other.example'],
      ['GET http:bob:hunter2@other.example/last', host],
    ];
    for (const [line, lines] of sent) await exchange(front.port, head(`${line} HTTP/1.1`, [lines]));
    await exchange(front.port, head('GET /last HTTP/1.1', ['Host: evil.example']));
    await expect.poll(() => front.events('refused').some(({ path }) => path === '/last')).toBe(true);
    expect(await front.end()).toBe(0);
    const told = front.events('refused');
    expect(JSON.stringify(told)).not.toMatch(/hunter2|api_key/);
    expect(told[0]).toMatchObject({ path: '/x', message: expect.stringContaining('http://other.example') });
    expect(told[1]).toMatchObject({ path: '/' });
  });

  it('accepts the target as a proxy variable names it, and removes AuthMesh-* from the request', async () => {
    const { stdout } = await curl(
      ...['-x', outward.origin, '-H', 'AuthMesh-Caller-Id: am_evil', '-H', 'AuthMesh-Target: am_evil'],
      `${inward.origin}/through`,
    );
    expect(JSON.parse(stdout)).toMatchObject({ target: '/through' });
    expect(first().lines.join()).not.toContain('am_evil');
  });
});

describe('a large body', () => {
  it('goes into a file without a name, which only this user can read', async () => {
    const dir = proxied.spool();
    const proxy = await proxied.to(inward.origin, ['--spool', dir]);
    const sent = ask(proxy, '/hash', { method: 'POST', headers: { 'content-length': 3 * MIB } });
    sent.on('error', () => {});
    sent.write(Buffer.alloc(2 * MIB));
    if (measured) await expect.poll(() => openFiles(dir)).toBe(1);
    expect([readdirSync(dir), statSync(dir).mode & 0o777]).toEqual([[], 0o700]);
    expect(backend.seen).toEqual([]);
    sent.end(Buffer.alloc(MIB));
    expect(JSON.parse((await answerOf(sent)).text)).toMatchObject({ bytes: 3 * MIB });
    if (measured) await expect.poll(() => openFiles(dir)).toBe(0);
    expect(await proxy.end()).toBe(0);
  });

  it('is refused if it is too large, whether it announces that or not, and the proxy continues', async () => {
    const proxy = await proxied.to(inward.origin, ['--max-body', '2MiB', '--max-spool', '3MiB']);
    for (const headers of [{ 'content-length': 4 * MIB }, { 'transfer-encoding': 'chunked' }]) {
      const sent = ask(proxy, '/hash', { method: 'POST', headers });
      sent.on('error', () => {});
      sent.end(Buffer.alloc(4 * MIB));
      const answer = await answerOf(sent);
      expect([answer.statusCode, answer.text]).toEqual([413, '{"error":"payload_too_large"}']);
    }
    // Two of 2 MiB are more than all may have together.
    const both = [0, 1].map(() =>
      ask(proxy, '/hash', { method: 'POST', headers: { 'content-length': 2 * MIB } }),
    );
    for (const sent of both) sent.write(Buffer.alloc(2 * MIB - 1));
    const statuses = await Promise.all(
      both.map(async (sent) => {
        const answered = answerOf(sent);
        setTimeout(() => sent.end('x'), 300);
        return (await answered).statusCode;
      }),
    );
    expect(statuses.toSorted()).toEqual([200, 503]);
    expect(await proxy.end()).toBe(0);
    expect(proxy.events('refused').map(({ code }) => code)).toEqual([
      'payload_too_large',
      'payload_too_large',
      'spool_full',
    ]);
  });

  it('whose digest is wrong never reaches the server, or with --stream not to its end', async () => {
    const streaming = await proxied.protect(backend.origin, ['--stream']);
    const body = randomBytes(3 * MIB);
    for (const proxy of [inward, streaming]) {
      const signed = await signedRaw(proxied.signer, `127.0.0.1:${proxy.port}`, {
        method: 'POST',
        target: '/hash',
        body,
      });
      const changed = Buffer.from(body);
      changed[2 * MIB] = (changed[2 * MIB] as number) ^ 1;
      const framed = [...signed.headers, `Content-Length: ${body.length}`];
      const answer = await exchange(proxy.port, head(signed.line, framed), changed);
      expect([answer.status, answer.body]).toEqual([401, '{"error":"unauthorized"}']);
    }
    await expect.poll(() => broken.length).toBe(1);
    expect(broken[0]).toBeLessThan(body.length);
    expect(backend.seen).toHaveLength(1);
    expect(await streaming.end()).toBe(0);
  });

  it('gets the response of a server that does not read it to its end, even with --stream', async () => {
    const streaming = await proxied.protect(backend.origin, ['--stream']);
    for (const proxy of [inward, streaming]) {
      const body = randomBytes(3 * MIB);
      const signed = await signedRaw(proxied.signer, `127.0.0.1:${proxy.port}`, {
        method: 'POST',
        target: '/early',
        body,
      });
      const framed = [...signed.headers, `Content-Length: ${body.length}`];
      const client = await RawClient.connect(proxy.port);
      client.write(head(signed.line, framed), body.subarray(0, 2 * MIB));
      if (proxy === inward) client.write(body.subarray(2 * MIB));
      const answer = await client.response();
      expect([answer.status, answer.body]).toEqual([413, 'early']);
      client.destroy();
    }
    expect(await streaming.end()).toBe(0);
  });

  const sizeBytes = times(64, 128, 1024) * MIB;
  it.skipIf(!measured)(
    'goes both ways in bounded memory, in files and with --stream',
    async () => {
      for (const flags of [[], ['--stream']]) {
        const max = ['--max-body', '2GiB', ...flags];
        const behind = await proxied.protect(backend.origin, max, { isProcess: true });
        const front = await proxied.to(behind.origin, ['--allow-unproven-bodies', ...max], {
          isProcess: true,
        });
        const hash = createHash('sha256');
        const block = Buffer.alloc(MIB, 'a');
        for (let at = 0; at < sizeBytes; at += MIB) hash.update(block);
        const sha256 = hash.digest();
        const sent = ask(front, '/hash', {
          method: 'PUT',
          headers: {
            'content-length': sizeBytes,
            'content-digest': `sha-256=:${sha256.toString('base64')}:`,
          },
        });
        for (let at = 0; at < sizeBytes; at += MIB) if (!sent.write(block)) await once(sent, 'drain');
        sent.end();
        const answer = JSON.parse((await answerOf(sent)).text);
        expect(answer).toMatchObject({ bytes: sizeBytes, sha256: sha256.toString('hex') });
        const [got] = (await once(ask(front, `/zeros?bytes=${sizeBytes}`).end(), 'response')) as [
          IncomingMessage,
        ];
        let bytes = 0;
        for await (const chunk of got) bytes += chunk.length;
        expect(bytes).toBe(sizeBytes);
        for (const proxy of [behind, front])
          expect(await peakBytes(proxy.command.pid), flags.join()).toBeLessThan(256 * MIB);
        expect([await front.end(), await behind.end()]).toEqual([0, 0]);
      }
    },
    900_000,
  ); // a soak sends 4 GiB through two processes
});

/** The most memory that a process has had, in bytes. */
async function peakBytes(pid: number): Promise<number> {
  const [, kib = ''] = /^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) * 1024;
}

/** How many open files of this process were in a folder and have no name any more. */
function openFiles(dir: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // closed meanwhile
    }
  });
  return links.filter((link) => link.startsWith(`${dir}/`) && link.endsWith(' (deleted)')).length;
}

describe('a server that does not answer', () => {
  it('is 502 with a code, and the proxy continues', async () => {
    const gone = await new Backend().listen();
    const proxy = await proxied.protect(gone.origin, ['--timeout', '1s']);
    const front = await proxied.to(proxy.origin);
    expect((await answerOf(ask(front, '/').end())).statusCode).toBe(200);
    gone.close();
    const answer = await answerOf(ask(front, '/').end());
    // Signed by the proxy in front of the server, since its caller asked for that.
    expect([answer.statusCode, answer.text]).toEqual([502, '{"error":"server_unreachable"}']);
    await proxy.end();
    const unproven = await answerOf(ask(front, '/').end());
    expect([unproven.statusCode, unproven.text]).toEqual([502, '{"error":"server_unreachable"}']);
    await front.end();
  });

  it('is 502 if its status is invalid, it switches protocols, or its coding cannot be decoded', async () => {
    for (const options of [{}, { answers: 'off' as const }])
      for (const path of ['/strange', '/switched', '/coded']) {
        const answer = await proxied.callerWith(options).fetch(inward.origin + path);
        expect([answer.status, await answer.text()], path).toEqual([502, '{"error":"server_unreachable"}']);
      }
  });

  it('is 504 if it takes too long', async () => {
    const proxy = await proxied.protect(backend.origin, ['--timeout', '1s']);
    const front = await proxied.to(proxy.origin);
    const answer = await answerOf(ask(front, '/late').end());
    expect([answer.statusCode, answer.text]).toEqual([504, '{"error":"server_unreachable"}']);
    await proxy.end();
    await front.end();
  });

  it('is 502 if somebody else answers instead', async () => {
    const impostor = await new Backend().listen();
    await proxied.know(`127.0.0.1:${impostor.port}`);
    const front = await proxied.to(impostor.origin);
    const answer = await answerOf(ask(front, '/').end());
    expect([answer.statusCode, answer.text]).toEqual([502, '{"error":"answer_unproven"}']);
    await front.end();
    const [told] = front.events('refused');
    expect(told).toMatchObject({ code: 'answer_unproven', status: 502 });
    expect(told?.message).toMatch(/or with --answers off\.$/); // not the option of the API
    impostor.server.removeAllListeners('request');
    impostor.server.on('request', (request, response) => ROUTES['/switched']?.(request, response));
    const careless = await proxied.to(impostor.origin, ['--answers', 'off']);
    const switched = await answerOf(ask(careless, '/').end());
    expect([switched.statusCode, switched.text]).toEqual([502, '{"error":"server_unreachable"}']);
    await careless.end();
    impostor.close();
  });
});
