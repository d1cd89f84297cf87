import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, request } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { openDevice } from '@authmesh/sdk/admin';
import { createVerifier } from '@authmesh/sdk/core';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { createCertificate } from '../support/certificate';
import { listen } from '../support/listen';
import { useRelay } from '../support/use-relay';
import { type Machine, useMachines } from './amesh';
import { examineWith, trust } from './examine';
import { fingerprintOf } from './fingerprint';

const createMachine = useMachines();
const relay = useRelay();
const endings: (() => unknown)[] = [];
afterAll(() => Promise.all(endings.map((end) => end())));

const examine = (machine: Machine, ...args: string[]) =>
  examineWith(machine, { AMESH_RELAY_URL: relay.url }, ...args);

async function serve(handler: RequestListener) {
  const server = await listen(createServer(handler));
  endings.push(() => server.close());
  return server;
}

/** A target that answers `/health` to everybody and has `verify()` in front of `/api`, and a machine that may call it or not. */
async function meet(isTrusted: boolean) {
  const [prod, laptop] = [await createMachine(), await createMachine()];
  const [target, caller] = [await prod.init('prod-api'), await laptop.init('laptop')];
  if (isTrusted) await trust(prod, caller, 'controller');
  const verify = createAmesh({ dir: prod.dir, env: {}, onRefusal: () => {} }).verify();
  const server = await serve((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://x');
    const answer = () => {
      response.statusCode = pathname === '/api/missing' ? 404 : 200;
      response.end();
    };
    if (pathname.startsWith('/api')) verify(request, response, answer);
    else answer();
  });
  await trust(laptop, target, 'target', [server.authority]);
  return { prod, laptop, server };
}

describe('a server that accepts this machine', () => {
  it('is recognised by an unsigned request that it refuses, and nothing is recorded', async () => {
    const { laptop, server } = await meet(true);
    const before = await fingerprintOf(laptop.dir);
    const { code, of, stdout } = await examine(laptop, `${server.origin}/api/orders?token=SECRET`);
    expect(code).toBe(0);
    expect(of.target).toMatchObject({
      state: 'ok',
      message: `${server.origin}/api/orders responds 200, and refuses the same request without a signature: verify() accepted this machine. The request was signed for "prod-api".`,
    });
    expect(stdout).not.toContain('SECRET');
    expect(await fingerprintOf(laptop.dir)).toBe(before);
    const ran = await laptop.amesh(['doctor', `${server.origin}/api/orders`], {
      env: { AMESH_RELAY_URL: relay.url },
    });
    expect(ran.stderr).toMatch(/^✓ Nothing is broken\./);
  });

  it('accepts it on a path that does not exist, too', async () => {
    const { laptop, server } = await meet(true);
    const { of } = await examine(laptop, `${server.origin}/api/missing`);
    expect(of.target).toMatchObject({
      state: 'ok',
      message: expect.stringContaining('/api/missing responds 404'),
    });
  });
});

describe('a server that does not know this machine', () => {
  it('refuses it', async () => {
    const { laptop, server } = await meet(false);
    const { code, of } = await examine(laptop, `${server.origin}/api/orders`);
    expect(code).toBe(1);
    expect(of.target).toMatchObject({
      state: 'failed',
      message: expect.stringMatching(
        /\/api\/orders: The server did not accept the signature of this device\. The request was signed for am_[\w-]{16}\.$/,
      ),
      fix: expect.stringMatching(/^On the target: amesh list .* Here: amesh whoami\.$/),
    });
  });

  it('responds on a path in front of verify(), which is not mistaken for trust', async () => {
    const { laptop, server } = await meet(false);
    const ran = await laptop.amesh(['doctor', `${server.origin}/health`], {
      env: { AMESH_RELAY_URL: relay.url },
    });
    expect(ran.stdout).toContain(
      `! target    ${server.origin}/health responds 200 to everybody: verify() does not protect this path. It proves nothing about this machine.\n`,
    );
    expect(ran.stdout).toContain(`            Fix: ${laptop.here(`amesh doctor ${server.origin}/api`)}\n`);
    expect(ran.stderr).not.toContain('✓ Nothing is broken');
    expect(ran.stderr).toContain(
      `! Nothing is broken on this machine, but nothing proves that ${server.authority} accepts its requests.`,
    );
  });
});

describe('a proxy that rewrites what it passes on', () => {
  /** As nginx does where its proxy_pass has a path, and as Apache does with a slash that is escaped. */
  async function behindProxy(server: { port: number }) {
    return serve((incoming, outgoing) => {
      const [path = '', query] = (incoming.url ?? '').split('?');
      if (/%2f/i.test(path)) return void outgoing.writeHead(404).end();
      const target = decodeURIComponent(path) + (query === undefined ? '' : `?${query}&via=proxy`);
      const passed = request(
        { host: '127.0.0.1', port: server.port, path: target, headers: incoming.headers },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(outgoing);
        },
      );
      passed.end();
    });
  }

  it.each([
    ['/api/%7Euser', 'the path'],
    ['/api/orders?token=SECRET', 'the query'],
  ])('%s', async (target, what) => {
    const { prod, laptop, server } = await meet(true);
    const proxy = await behindProxy(server);
    await prod.amesh(['config', 'hosts', proxy.authority]);
    const { code, of, stdout } = await examine(laptop, `${proxy.origin}${target}`);
    expect(code).toBe(1);
    expect(of.target?.message).toMatch(
      new RegExp(
        `: the server accepts this machine's requests to /api/\\w*, but not the signature for this URL\\. Something in between rewrites ${what}\\.$`,
      ),
    );
    expect(of.target?.fix).toContain('nocanon');
    expect(stdout).not.toContain('SECRET');
  });

  it('handles an escaped slash itself', async () => {
    const { laptop, server } = await meet(true);
    const proxy = await behindProxy(server);
    const { of } = await examine(laptop, `${proxy.origin}/api/a%2Fb`);
    expect(of.target).toMatchObject({
      state: 'warning',
      message: expect.stringContaining('Apache itself does so for each path with %2F'),
      fix: expect.stringContaining('AllowEncodedSlashes NoDecode'),
    });
  });

  it('is not blamed by a server that does not know this machine', async () => {
    const { laptop, server } = await meet(false);
    const { of } = await examine(laptop, `${server.origin}/api/%7Euser?x=1`);
    expect(of.target?.message).toContain('The server did not accept the signature of this device.');
  });
});

describe('a server that the list knows', () => {
  it('accepts everybody if neither this path nor one above it is protected', async () => {
    const server = await serve((_, response) => response.end());
    const [laptop, orders] = [await createMachine('laptop'), await createMachine('orders-api')];
    const line = (await orders.amesh(['trust', 'export', '--quiet'])).stdout.trim();
    await laptop.amesh(['trust', 'add', '--role', 'target', '--host', server.authority, line]);
    const { of } = await examine(laptop, `${server.origin}/health`);
    expect(of.target).toEqual({
      check: 'target',
      state: 'warning',
      message: `${server.origin}/health responds 200 to everybody: verify() does not protect this path. In the list this is the host of "orders-api", so another path should be protected.`,
      fix: laptop.here(`amesh doctor ${server.origin}/PATH   PATH is one that verify() protects.`),
    });
  });
});

describe('a server without amesh', () => {
  it('accepts everybody', async () => {
    const server = await serve((_, response) => response.end());
    const { of } = await examine(await createMachine('a'), `${server.origin}/health`);
    expect(of.target).toEqual({
      check: 'target',
      state: 'warning',
      message: `${server.origin}/health responds 200 to everybody: verify() does not protect this path. No path that was tried at ${server.authority} uses amesh: this one, those above it, and /api.`,
      fix: 'Use a path that verify() protects. If there is none, the server does not use amesh.',
    });
  });

  it('asks for another login', async () => {
    const server = await serve((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
    );
    const { code, of } = await examine(await createMachine('a'), `${server.origin}/health`);
    expect(code).toBe(1);
    expect(of.target?.message).toBe(
      `${server.origin}/health responds 401, and asks for another login than amesh (Basic).`,
    );
  });
});

describe('the wrong scheme', () => {
  it('is https if the server speaks http', async () => {
    const server = await serve((_, response) => response.end());
    const machine = await createMachine('a');
    const { code, of } = await examine(machine, `https://${server.authority}/health`);
    expect(code).toBe(1);
    expect(of.target).toMatchObject({
      message: `https://${server.authority}/health does not use TLS: it is a plain http server.`,
      fix: machine.here(`amesh doctor http://${server.authority}/health`),
    });
  });

  it('is http if the server speaks https', async () => {
    const { key, cert } = await createCertificate();
    const server = await listen(createTlsServer({ key, cert }, (_, response) => response.end()));
    endings.push(() => server.close());
    const machine = await createMachine('a');
    const { code, of } = await examine(machine, `http://${server.authority}/health`);
    expect(code).toBe(1);
    expect(of.target).toMatchObject({
      message: `http://${server.authority}/health expects TLS.`,
      fix: machine.here(`amesh doctor https://${server.authority}/health`),
    });
    const untrusted = await examine(machine, `https://${server.authority}/health`);
    expect(untrusted.of.target?.message).toMatch(
      /has a certificate that this machine does not accept: \w+\.$/,
    );
    expect(untrusted.of.target?.fix).toContain('NODE_EXTRA_CA_CERTS');
  });
});

it('reports a clock that is 45 s off over plain http, and that nobody proves it', async () => {
  const machine = await createMachine('a');
  const { identity } = await openDevice(machine.dir, {});
  const server = await serve(async (request, response) => {
    const hosts = [String(request.headers.host)];
    const verifier = createVerifier({
      allowList: { deviceId: identity.deviceId, hosts, devices: [] },
      now: () => Date.now() + 45_000,
    });
    const headers = Object.entries(request.headers) as [string, string][];
    const verdict = await verifier.verify(
      new Request(`http://${request.headers.host}${request.url}`, { headers }),
    );
    if (!verdict.ok)
      response.writeHead(verdict.answer.status, verdict.answer.headers).end(verdict.answer.body);
  });
  const { code, of } = await examine(machine, `http://0.0.0.0:${server.port}/`);
  expect(code).toBe(1);
  expect(of.target?.message).toMatch(
    /: the clocks differ\. This machine's clock is 4[456] s behind the server's\. Over plain http nothing proves that\.$/,
  );
  expect(of.target?.fix).toBe(
    'Correct the clock that is wrong, here or there: sudo timedatectl set-ntp true',
  );
  // The relay of this test is on loopback, and believed.
  const alone = await examineWith(
    machine,
    { AMESH_RELAY_URL: 'ws://127.0.0.1:1' },
    `http://0.0.0.0:${server.port}/`,
  );
  expect(alone.of.clock).toMatchObject({
    state: 'warning',
    message: expect.stringMatching(/^4[4-6] s behind the clock of .* Over plain http nothing proves that\.$/),
  });
});

it('reports a clock in the same way in both rows', async () => {
  const machine = await createMachine('a');
  const server = await serve((_request, response) => {
    const date = new Date(Date.now() - 1_201_000).toUTCString();
    response.writeHead(401, { date, 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"' }).end();
  });
  const { code, of } = await examineWith(
    machine,
    { AMESH_RELAY_URL: 'ws://127.0.0.1:1' },
    `${server.origin}/`,
  );
  expect(code).toBe(1);
  expect(of.target?.message).toMatch(/^The clock of .* is 120[0-3] s behind this machine's clock\.$/);
  expect(of.clock).toMatchObject({
    state: 'failed',
    message: expect.stringMatching(
      new RegExp(`^120[0-3] s ahead of the clock of ${server.authority}\\. Servers refuse `),
    ),
  });
});

describe('a server at fault', () => {
  it('has a folder that was restored from a copy', async () => {
    const { prod, laptop, server } = await meet(true);
    const list = join(prod.dir, 'allow_list.json');
    const copy = await readFile(list);
    expect((await examine(laptop, `${server.origin}/api/`)).of.target?.state).toBe('ok');
    await prod.amesh(['config', 'hosts', server.authority]);
    expect((await examine(laptop, `${server.origin}/api/`)).of.target?.state).toBe('ok');
    await writeFile(list, copy);
    // The server looks at its files some times a second.
    const { of } = await vi.waitFor(async () => {
      const examined = await examine(laptop, `${server.origin}/api/`);
      expect(examined.code).toBe(1);
      return examined;
    }, 15_000);
    expect(of.target?.message).toMatch(
      /The server itself has a fault\. .* The most common reason is that its folder was restored from an older copy\.$/,
    );
    expect(of.target?.fix).toBe(
      "See the server's log for the reason. Restore the newer allow_list.json, or continue from the older one: amesh trust reset --keep. If the whole folder was restored, restart the server.",
    );
    const there = await examine(prod);
    expect(there.of.list?.state).toBe('failed');
  });

  it('cannot reach its nonce store', async () => {
    const server = await serve((_request, response) => {
      const body = '{"error":"nonce_store_unavailable"}';
      response.writeHead(503, { 'content-length': body.length }).end(body);
    });
    const { code, of } = await examine(await createMachine('laptop'), `${server.origin}/health`);
    expect(code).toBe(1);
    expect(of.target).toMatchObject({
      message: `${server.origin}/health: The server itself has a fault. The nonce store did not respond, or is full.`,
      fix: "See the server's log for the reason. Check the store. Without it amesh cannot tell whether a request is a replay.",
    });
  });
});

describe('an address without a server', () => {
  it('is not said to be silent if it responds with nothing of use, or cannot be called', async () => {
    const { laptop } = await meet(true);
    const loop = await serve((request, response) =>
      response.writeHead(307, { location: `${request.url}/again` }).end(),
    );
    const other = await listen(createServer().on('connection', (socket) => void socket.end('hello\n')));
    endings.push(() => other.close());
    const said = async (url: string) => (await examine(laptop, url)).of.target?.message;
    expect(await said(`${loop.origin}/a`)).toBe(`${loop.authority} redirects more than 20 times.`);
    expect(await said(other.origin)).toMatch(/ does not speak HTTP: HPE_\w+\.$/);
    expect(await said('http://127.0.0.1:6000/')).toMatch(/ does not respond: fetch never calls port 6000\.$/);
  });

  it('is reported if nobody listens', async () => {
    const { code, of } = await examine(await createMachine('a'), 'http://127.0.0.1:1/');
    expect(code).toBe(1);
    expect(of.target?.message).toMatch(/^http:\/\/127\.0\.0\.1:1\/ does not respond: /);
  });

  it.each(['api.example.com', 'ftp://a.example/', 'http://me:secret@a.example/'])(
    'is refused if it is not a URL: %s',
    async (text) => {
      const ran = await (await createMachine()).amesh(['doctor', text]);
      expect(ran.code).toBe(2);
      expect(ran.stderr).toContain(
        '✗ The server must be a URL such as https://api.example.com/api/orders.\n',
      );
      expect(ran.stderr).not.toContain('secret');
    },
  );
});
