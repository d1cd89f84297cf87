import { amesh, createAmesh } from '@authmesh/sdk';
import { type ClientRefusal, createClient } from '@authmesh/sdk/core';
import {
  Agent,
  EnvHttpProxyAgent,
  getGlobalDispatcher,
  interceptors,
  RetryAgent,
  setGlobalDispatcher,
} from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { signerOf } from '../support/core';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { type Recorder, startRecorder } from '../support/recorder';
import { SOON } from '../support/waiting';

let machines: Machines;
let server: Listening;
let strict: Listening;
let other: Recorder;

beforeAll(async () => {
  machines = await createMachines();
  const guarded = (target: typeof machines.target) => {
    const verify = target.verify();
    return listen((request, response) => verify(request, response, () => response.end('in')));
  };
  server = await guarded(machines.target);
  strict = await guarded(machines.targetWith({ hosts: ['api.example.com'] }));
  other = await startRecorder();
});
const told: ClientRefusal[] = [];
beforeEach(() => {
  told.length = 0;
  other.answer = (_request, response) => void response.end('ok');
});
afterAll(async () => {
  await Promise.all([server.close(), strict.close(), other.close()]);
  await machines.remove();
});

const onRefusal = (refusal: unknown) => void told.push(refusal as ClientRefusal);
const SECRETS = { Cookie: 'secret-cookie', 'X-Key': 'secret-key' };
const stranger = createClient({ signer: () => signerOf('stranger'), onRefusal });

describe('a refusal by an amesh server', () => {
  it('is returned like any response, and explained without secrets', async () => {
    const init = { method: 'POST', body: 'secret-body', headers: SECRETS };
    const response = await stranger.fetch(`${server.origin}/path?token=secret-query`, init);
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ error: 'unauthorized' });
    expect(told).toEqual([
      {
        code: 'unauthorized',
        status: 401,
        url: `${server.origin}/path`,
        detail: 'The server did not accept the signature of this device.',
        fix: expect.stringMatching(/On the target: amesh list .* Here: amesh whoami\.$/),
      },
    ]);
    expect(JSON.stringify(told)).not.toContain('secret');
  });

  it('says for whom the request was signed if it named a target and the server tells nobody who it is', async () => {
    const { deviceId } = await machines.target.identity();
    const other = 'am_AAAAAAAAAAAAAAAA';
    const naming = createClient({ signer: machines.signer, targetOf: () => other, onRefusal });
    machines.refusals.length = 0;
    const response = await naming.fetch(server.origin);
    expect([response.status, await response.text()]).toEqual([401, '{"error":"unauthorized"}']);
    expect([...response.headers].join()).not.toContain('am_');
    expect(machines.refusals).toMatchObject([
      { code: 'wrong_target', detail: `The request is for ${other}, but this device is ${deviceId}.` },
    ]);
    expect(told).toMatchObject([
      {
        code: 'unauthorized',
        detail: `The server did not accept the signature of this device. The request was signed for ${other}.`,
      },
    ]);
  });

  it('of the host names the line that sets it', async () => {
    const client = machines.controllerWith({ onRefusal });
    const response = await client.fetch(strict.origin);
    expect([response.status, await response.json()]).toEqual([421, { error: 'wrong_host' }]);
    expect(told).toMatchObject([
      {
        code: 'wrong_host',
        fix: `On the target, run: amesh config hosts --add ${strict.authority}. If it has that host, a proxy sets another: see "authority" in docs/configuration.md.`,
      },
    ]);
  });

  it('for the time, over a channel that is not trusted', async () => {
    other.answer = (_request, response) => {
      response.setHeader('age', '1');
      response.writeHead(401, { 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"' }).end();
    };
    await stranger.fetch(other.origin);
    expect(told).toMatchObject([{ code: 'timestamp_out_of_range', fix: 'Set both (NTP).' }]);
  });

  it.each([
    [45_000, 'behind'],
    [-45_000, 'ahead of'],
  ])('for the time, over plain http, says how far the clocks are apart: %d ms', async (aheadMs, side) => {
    other.requests.length = 0;
    other.answer = (_request, response) => {
      response.setHeader('date', new Date(Date.now() + aheadMs).toUTCString());
      response.writeHead(401, { 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"' }).end();
    };
    const response = await stranger.fetch(`http://0.0.0.0:${other.port}/`);
    expect(response.status).toBe(401); // nothing is thrown, and nothing is signed by that time
    expect(other.requests).toHaveLength(1);
    expect(told).toMatchObject([
      {
        code: 'timestamp_out_of_range',
        detail: expect.stringMatching(
          new RegExp(`^This machine's clock is 4[456] s ${side} the server's\\.$`),
        ),
        fix: 'Correct the clock that is wrong (NTP). Nothing proves the time in this response, so amesh.fetch does not correct its clock by it: use https.',
      },
    ]);
  });

  it('for the time, by a server that has just started, does not blame the clocks', async () => {
    other.answer = (_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"' }).end();
    };
    await stranger.fetch(`http://0.0.0.0:${other.port}/`);
    expect(told).toMatchObject([
      {
        detail: expect.stringMatching(/though the clocks are only \d+ s apart\.$/),
        fix: expect.stringContaining('just started: send the request again'),
      },
    ]);
  });

  it('for a request that something below amesh.fetch has sent twice', async () => {
    let calls = 0;
    const verify = machines.target.verify();
    const busy = await listen((request, response) =>
      verify(request, response, () => response.writeHead(calls++ === 0 ? 503 : 200).end()),
    );
    onTestFinished(() => busy.close());
    // What fetch-retry and the interceptors of undici do.
    const retrying = async (input: string | URL | Request, init?: RequestInit) => {
      const response = await fetch(input, init);
      return response.status === 503 ? fetch(input, init) : response;
    };
    machines.refusals.length = 0;
    const client = machines.controllerWith({ fetch: retrying, onRefusal });
    expect((await client.fetch(`${busy.origin}/`)).status).toBe(401);
    expect(machines.refusals).toMatchObject([
      {
        code: 'replay_detected',
        detail: expect.stringMatching(/^This request has been seen before\. It was signed \d+ s ago\.$/),
        fix: expect.stringContaining('a fetch with retries below amesh.fetch'),
      },
    ]);
    expect(told[0]?.fix).toMatch(
      /If the server's log says replay_detected, the fetch or dispatcher below amesh\.fetch retries requests: turn that off, and retry amesh\.fetch itself\.$/,
    );
    expect(calls).toBe(1);
  });

  it('names a global dispatcher that may repeat requests, but not one that does not', async () => {
    const before = getGlobalDispatcher();
    onTestFinished(() => setGlobalDispatcher(before));
    for (const [dispatcher, says] of [
      [new Agent(), false],
      [new EnvHttpProxyAgent(), false],
      [new RetryAgent(new Agent()), true],
      [new Agent().compose(interceptors.retry()), true],
    ] as const) {
      setGlobalDispatcher(dispatcher);
      told.length = 0;
      await stranger.fetch(server.origin);
      expect(told[0]?.fix.includes('replay_detected'), dispatcher.constructor.name).toBe(says);
    }
  });

  it.each([
    [500, 'allow_list_integrity_failure', 'The allow list is not what its owner sealed.'],
    [500, 'body_parser_ordering_error', 'A body parser before amesh.verify() kept no copy of the body.'],
    [503, 'allow_list_unavailable', 'The allow list cannot be read.'],
    [503, 'nonce_store_unavailable', 'The nonce store did not respond, or is full.'],
  ])('%d %s is explained, and its body is left to be read', async (status, code, cause) => {
    const body = JSON.stringify({ error: code });
    other.answer = (_request, response) => {
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
      response.end(body);
    };
    const response = await stranger.fetch(`${other.origin}/path?token=secret-query`);
    expect([response.status, await response.json()]).toEqual([status, { error: code }]);
    await vi.waitFor(() => expect(told).toHaveLength(1), SOON);
    expect(told).toEqual([
      {
        code,
        status,
        url: `${other.origin}/path`,
        detail: `The server itself has a fault. ${cause}`,
        fix: expect.stringMatching(/^See the server's log for the reason\. [A-Z]/),
      },
    ]);
  });

  it.each<[string, number, string, boolean?]>([
    ['a code with another status', 503, '{"error":"allow_list_integrity_failure"}'],
    ['a code that never goes over the wire', 503, '{"error":"passphrase_required"}'],
    ['a refusal', 500, '{"error":"malformed_header"}'],
    ['what every object has', 500, '{"error":"constructor"}'],
    ['other JSON', 500, 'null'],
    ['no JSON', 503, 'Service Unavailable'],
    ['more than ours', 503, `{"error":"allow_list_unavailable"}${' '.repeat(100)}`],
    ['a body without a length', 503, '{"error":"allow_list_unavailable"}', true],
  ])('is not seen in an error of another program: %s', async (_, status, body, isChunked = false) => {
    other.answer = (_request, response) => {
      response.writeHead(status, isChunked ? {} : { 'content-length': body.length }).end(body);
    };
    const response = await stranger.fetch(other.origin);
    expect([response.status, await response.text()]).toEqual([status, body]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(told).toEqual([]);
  });

  it('with a body that never comes makes nobody wait', async () => {
    other.answer = (_request, response) => void response.writeHead(503, { 'content-length': 34 }).write('{');
    const response = await stranger.fetch(other.origin);
    expect(response.status).toBe(503);
    await response.body?.cancel();
    expect(told).toEqual([]);
  });

  describe('for a missing scope', () => {
    let scoped: Listening;
    beforeAll(async () => {
      const verify = machines.target.verify({ require: 'orders:read' });
      scoped = await listen((request, response) => verify(request, response, () => response.end('in')));
    });
    afterAll(() => scoped.close());

    it('names the scope, and what the administrator has to run', async () => {
      const client = machines.controllerWith({ onRefusal });
      const response = await client.fetch(`${scoped.origin}/path?token=secret-query`, { method: 'POST' });
      expect(told).toEqual([
        {
          code: 'scope_missing',
          status: 403,
          scope: 'orders:read',
          url: `${scoped.origin}/path`,
          detail: 'This device does not have the scope orders:read at the server.',
          fix: `Ask the administrator of ${scoped.authority} to run: amesh allow ${machines.controllerId} orders:read`,
        },
      ]);
      expect([response.status, await response.json()]).toEqual([
        403,
        { error: 'scope_missing', scope: 'orders:read' },
      ]);
    });

    const OURS = '{"error":"scope_missing","scope":"orders:read"}';
    const JSON_TYPE = { 'content-type': 'application/json' };
    const answerWith = (body: string, headers: object) => {
      other.answer = (_request, response) =>
        void response.writeHead(403, { 'content-length': body.length, ...headers }).end(body);
    };

    it('is known with the longest scope', async () => {
      const scope = 'x'.repeat(64);
      answerWith(JSON.stringify({ error: 'scope_missing', scope }), JSON_TYPE);
      await stranger.fetch(other.origin);
      expect(told).toMatchObject([{ code: 'scope_missing', scope }]);
    });

    it('a route that accepts no delegates says so', async () => {
      answerWith('{"error":"delegate_not_allowed"}', JSON_TYPE);
      await stranger.fetch(other.origin);
      expect(told).toEqual([
        {
          code: 'delegate_not_allowed',
          status: 403,
          url: `${other.origin}/`,
          detail: 'The server accepts no delegates at this path.',
          fix: expect.stringMatching(/ Or call as the device itself\.$/),
        },
      ]);
    });

    it.each<[string, string, object?]>([
      ['about delegates with a scope', '{"error":"delegate_not_allowed","scope":"a"}'],
      ['of an application', '{"error":"forbidden"}'],
      ['without a scope', '{"error":"scope_missing"}'],
      ['with a wildcard', '{"error":"scope_missing","scope":"orders:*"}'],
      ['with a command in the scope', '{"error":"scope_missing","scope":"x; rm -rf /"}'],
      ['with a line feed in the scope', '{"error":"scope_missing","scope":"orders:read\\n"}'],
      ['with more members', '{"error":"scope_missing","scope":"orders:read","by":"me"}'],
      ['with other spaces', '{"error": "scope_missing","scope":"orders:read"}'],
      ['with the members the other way round', '{"scope":"orders:read","error":"scope_missing"}'],
      ['with a line feed at the end', `${OURS}\n`],
      ['without JSON', 'no access'],
      ['without a body', ''],
      ['as text', OURS, { 'content-type': 'text/plain' }],
      ['as JSON in a character set', OURS, { 'content-type': 'application/json; charset=utf-8' }],
    ])('is not seen in a 403 of another program: %s', async (_, body, headers = JSON_TYPE) => {
      answerWith(body, headers);
      const response = await stranger.fetch(other.origin);
      expect([response.status, await response.text()]).toEqual([403, body]);
      expect(told).toEqual([]);
    });

    it('is not seen after a redirect out of the origin, where nothing was signed', async () => {
      answerWith(OURS, JSON_TYPE);
      const away = await startRecorder();
      away.answer = (_request, response) => void response.writeHead(302, { location: other.origin }).end();
      expect((await stranger.fetch(away.origin)).status).toBe(403);
      expect(told).toEqual([]);
      await away.close();
    });

    it('waits at most a second for a body that never comes', async () => {
      other.answer = (_request, response) =>
        void response.writeHead(403, { ...JSON_TYPE, 'content-length': OURS.length }).write('{');
      const response = await stranger.fetch(other.origin);
      expect(response.status).toBe(403);
      await response.body?.cancel();
      expect(told).toEqual([]);
    });
  });

  it('is seen next to the challenge of a proxy', async () => {
    other.answer = (_request, response) => {
      const challenges = ['Basic realm="x"', 'AuthMesh error="unauthorized"'];
      response.writeHead(401, { 'www-authenticate': challenges }).end();
    };
    await stranger.fetch(other.origin);
    expect(told).toMatchObject([{ code: 'unauthorized' }]);
  });

  it('after a redirect out of the origin says that it was not signed', async () => {
    other.answer = (_request, response) => void response.writeHead(302, { location: server.origin }).end();
    const response = await machines.controllerWith({ onRefusal }).fetch(`${other.origin}/?q`);
    expect(response.status).toBe(401);
    expect(told).toMatchObject([{ code: 'unauthorized', url: `${server.origin}/` }]);
    expect(`${told[0]?.detail} ${told[0]?.fix}`).toMatch(
      /Another server redirected .* Call this URL directly\.$/,
    );
  });

  it.each([
    ['a 401 of another program', 401, 'Basic realm="x"'],
    ['a 401 with a code of an unknown version', 401, 'AuthMesh error="constructor"'],
    ['a 403', 403, 'AuthMesh error="unauthorized"'],
    ['a 200', 200, 'AuthMesh error="unauthorized"'],
  ])('is not seen in %s', async (_name, status, challenge) => {
    other.answer = (_request, response) =>
      void response.writeHead(status, { 'www-authenticate': challenge }).end();
    expect((await stranger.fetch(other.origin)).status).toBe(status);
    expect(told).toEqual([]);
  });

  it('is returned even if onRefusal throws, which is printed', async () => {
    const printed = captureConsole('error');
    const failing = createClient({
      signer: () => signerOf('stranger'),
      onRefusal: () => {
        throw new Error('own logging');
      },
    });
    const response = await failing.fetch(server.origin);
    expect(await response.json()).toEqual({ error: 'unauthorized' });
    expect(printed()).toMatch(/amesh: onRefusal threw.*own logging/);
  });
});

describe('DEBUG=amesh', () => {
  it('prints cause and fix on one line, without secrets', async () => {
    const printed = captureConsole('warn');
    const client = machines.controllerWith({ env: { DEBUG: 'amesh' } });
    await client.fetch(`${strict.origin}/path?token=secret-query`, { headers: SECRETS });
    const line = printed()
      .split('\n')
      .find((text) => text.includes(` from ${strict.origin}`));
    expect(line).toBe(
      `amesh: 421 wrong_host from ${strict.origin}/path: The server accepts no requests for this host. On the target, run: amesh config hosts --add ${strict.authority}. If it has that host, a proxy sets another: see "authority" in docs/configuration.md.`,
    );
    expect(printed()).not.toContain('secret');
  });

  it('prints the reason if the server is at fault', async () => {
    const printed = captureConsole('warn');
    const verify = createAmesh({ dir: '/nonexistent/amesh', env: {} }).verify();
    const broken = await listen((request, response) => verify(request, response, () => response.end('in')));
    const response = await machines.controllerWith({ env: { DEBUG: 'amesh' } }).fetch(broken.origin);
    expect(response.status).toBe(503);
    const line = `amesh: 503 allow_list_unavailable from ${broken.origin}/: The server itself has a fault. The allow list cannot be read. See the server's log for the reason. Check that the folder or store exists and is readable.`;
    await vi.waitFor(() => expect(printed().split('\n')).toContain(line), SOON);
    await broken.close();
  });

  it.each([undefined, '', 'express', 'ameshed'])('%j prints nothing of it', async (DEBUG) => {
    const printed = captureConsole('warn');
    await machines.controllerWith({ env: { DEBUG } }).fetch(strict.origin);
    expect(printed()).not.toContain(`wrong_host from ${strict.origin}`);
  });
});

describe('the key', () => {
  it('is opened once for many first requests at the same time', async () => {
    let opened = 0;
    const client = createClient({
      async signer() {
        opened++;
        await new Promise((resolve) => setImmediate(resolve));
        return signerOf('controller');
      },
    });
    const calls = Array.from({ length: 20 }, (_, i) => client.fetch(`${other.origin}/${i}`));
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(20).fill(200));
    await client.fetch(other.origin);
    expect(opened).toBe(1);
  });

  it('is asked for again by the next request if it could not be opened', async () => {
    let tries = 0;
    const client = createClient({
      signer() {
        if (++tries === 1) throw new Error('not yet');
        return signerOf('controller');
      },
    });
    const calls = [client.fetch(other.origin), client.fetch(other.origin)];
    for (const { status } of await Promise.allSettled(calls)) expect(status).toBe('rejected');
    expect(tries).toBe(1);
    expect((await client.fetch(other.origin)).status).toBe(200);
    expect(tries).toBe(2);
  });

  it('may take its time without making the signature old', async () => {
    let nowMs = 1_764_000_000_000;
    const client = createClient({
      async signer() {
        nowMs += 60_000; // somebody types a passphrase
        return signerOf('controller');
      },
      now: () => nowMs,
    });
    await client.fetch(other.origin);
    expect(other.requests.at(-1)?.header('authorization')).toContain('ts="1764000060"');
  });

  it('gives an error that says what to run if it is not there, and nothing is sent', async () => {
    const { length } = other.requests;
    const none = createAmesh({ dir: '/nonexistent/amesh', env: {} });
    const error = await none.fetch(other.origin).catch((thrown) => thrown);
    expect(error).toMatchObject({ name: 'NoIdentityError', code: 'no_identity' });
    expect(error.message).toBe(
      'There is no amesh identity in /nonexistent/amesh. Run: amesh init --name NAME',
    );
    expect(other.requests.length).toBe(length);
  });
});

it('amesh.fetch needs no `this`', () => {
  const { fetch } = amesh;
  return expect(fetch('/relative')).rejects.toThrow(TypeError);
});

it('createAmesh throws a TypeError for a wrong option of fetch', () => {
  expect(() => createAmesh({ maxBufferedBytes: 0.5 })).toThrow(
    'maxBufferedBytes must be a whole number of bytes.',
  );
  expect(() => createAmesh({ fetch: 'x' } as never)).toThrow('fetch must be a function.');
});

/** What goes to the console, which a test would otherwise print. */
function captureConsole(method: 'warn' | 'error'): () => string {
  const spy = vi.spyOn(console, method).mockImplementation(() => {});
  onTestFinished(() => spy.mockRestore());
  return () => spy.mock.calls.map((call) => call.join(' ')).join('\n');
}
