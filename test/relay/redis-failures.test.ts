import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createRelay } from '@authmesh/relay';
import { Redis } from 'ioredis';
import { beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { ensureBuilt } from '../support/built';
import { describeWithRedis, startRedis } from '../support/redis';
import { Client, metric, startRelay, startRelayAtOnce, type TestRelay, untilReady } from './client';
import { type RelayProcess, startProcess } from './process';

const error = (code: string) => ({ type: 'error', code });
const NEWCOMERS = [
  { type: 'listen', v: 1 },
  { type: 'join', v: 1, code: '123456' },
  { type: 'post', v: 1, box: 'a-mailbox-of-its-own', body: '' },
  { type: 'wait', v: 1, box: 'a-mailbox-of-its-own' },
];
/** Within this time all clients are told of any failure. */
const TEN_SECONDS = 10_000;

async function within<T>(promise: Promise<T>, ms = TEN_SECONDS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Nothing came within ${ms} ms.`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const readiness = async (port: number) => (await fetch(`http://127.0.0.1:${port}/ready`)).status;

async function answerTo(port: number, frame: object) {
  const client = await Client.open(port);
  const answer = await within(client.send(frame).next());
  await client.end();
  return answer;
}

async function pairAcross(a: number, b: number): Promise<[Client, Client, string]> {
  const [t, c] = [await Client.open(a), await Client.open(b)];
  const code = await t.listen();
  c.join(code);
  expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
  return [t, c, code];
}

/** A connection of the test's own. */
function open(url: string, { onTestFinished }: TestContext): Redis {
  const client = new Redis(url);
  onTestFinished(() => client.disconnect());
  return client;
}

/** A Redis for one test, and what runs with it. */
async function stage({ onTestFinished }: TestContext, ...args: string[]) {
  const redis = await startRedis({ args });
  const relays: TestRelay[] = [];
  const processes: RelayProcess[] = [];
  onTestFinished(async () => {
    for (const { child } of processes) child.kill('SIGKILL');
    await Promise.all(relays.map(({ relay }) => relay.close()));
    await redis.stop();
  });
  return {
    redis,
    async startTwo(url = redis.url): Promise<[TestRelay, TestRelay]> {
      const [a, b] = await Promise.all([startRelay({ redis: url }), startRelay({ redis: url })]);
      relays.push(a, b);
      return [a, b];
    },
    async startOneAtOnce(url = redis.url): Promise<TestRelay> {
      const relay = await startRelayAtOnce({ redis: url });
      relays.push(relay);
      return relay;
    },
    async startOneProcess(): Promise<RelayProcess> {
      const started = await startProcess(process.execPath, { REDIS_URL: redis.url });
      processes.push(started);
      return started;
    },
  };
}

// Side by side, since they mostly wait.
describeWithRedis('when something fails', { concurrent: true }, () => {
  beforeAll(ensureBuilt, 180_000);

  describe('an instance', () => {
    it.for(['listener', 'joiner'])(
      'that is killed: the %s at another instance gets peer_gone',
      async (stays, test) => {
        const { startOneProcess, startTwo } = await stage(test);
        const [killed, [other]] = await Promise.all([startOneProcess(), startTwo()]);
        const ports = stays === 'joiner' ? [killed.port, other.port] : [other.port, killed.port];
        const [t, c] = await pairAcross(...(ports as [number, number]));
        const waiting = await Client.open(killed.port);
        const code = await waiting.listen();
        killed.child.kill('SIGKILL');
        expect(await within((stays === 'joiner' ? c : t).next())).toEqual({ type: 'peer_gone' });
        expect(await answerTo(other.port, { type: 'join', v: 1, code })).toEqual(error('code_not_found'));
        expect(await metric(other.port, 'amesh_relay_sessions{state="paired"}')).toBe(0);
      },
    );

    it('that is killed is noticed at once by a client that sends a message', async (test) => {
      const { startOneProcess, startTwo } = await stage(test);
      const [killed, [other]] = await Promise.all([startOneProcess(), startTwo()]);
      const [, c] = await pairAcross(killed.port, other.port);
      killed.child.kill('SIGKILL');
      await killed.ended;
      c.send({ type: 'msg', body: 'anybody there?' });
      expect(await within(c.next(), 2000)).toEqual({ type: 'peer_gone' });
    });

    it('that hangs: the others get peer_gone, and so do its own when it comes back', async (test) => {
      const { startOneProcess, startTwo } = await stage(test);
      const [hangs, [other]] = await Promise.all([startOneProcess(), startTwo()]);
      const [t, c] = await pairAcross(hangs.port, other.port);
      const waiting = await Client.open(hangs.port);
      const code = await waiting.listen();
      hangs.child.kill('SIGSTOP');
      const joins = (await Client.open(other.port)).join(code);
      expect(await within(c.next())).toEqual({ type: 'peer_gone' });
      expect(await within(joins.next())).toEqual(error('code_not_found'));
      hangs.child.kill('SIGCONT');
      expect(await within(t.next())).toEqual({ type: 'peer_gone' });
    });
  });

  describe.for(['killed', 'stopped'])('a Redis that is %s', (how) => {
    it('unavailable for what needs it, peer_gone across instances; sessions at one instance continue; all works again afterwards', async (test) => {
      const { redis, startTwo } = await stage(test);
      const [a, b] = await startTwo();
      const [t, c, burnt] = await pairAcross(a.port, b.port);
      const [tHere, cHere, burntHere] = await pairAcross(a.port, a.port);
      const waiting = await Client.open(a.port);
      const open = await waiting.listen();
      const waiter = await Client.open(b.port);
      waiter.send({ type: 'wait', v: 1, box: 'a-mailbox-of-its-own' });
      await test.expect.poll(() => metric(b.port, 'amesh_relay_sessions{state="mailbox"}')).toBe(1);

      const waits = [t.next(), c.next(), waiting.next(), waiter.next()];
      if (how === 'killed') await redis.stop();
      else redis.pause();
      const atOnce = Promise.all(NEWCOMERS.map((frame) => answerTo(b.port, frame)));
      expect(await within(Promise.all(waits))).toEqual([
        { type: 'peer_gone' },
        { type: 'peer_gone' },
        error('unavailable'),
        error('unavailable'),
      ]);
      expect(await atOnce).toEqual(NEWCOMERS.map(() => error('unavailable')));
      expect(await Promise.all(NEWCOMERS.map((frame) => answerTo(a.port, frame)))).toEqual(
        NEWCOMERS.map(() => error('unavailable')),
      );
      expect(await (await fetch(`http://127.0.0.1:${a.port}/ready`)).json()).toEqual({
        status: 'unavailable',
      });
      expect((await fetch(`http://127.0.0.1:${a.port}/health`)).status).toBe(200);
      expect(await metric(a.port, 'amesh_relay_redis_up')).toBe(0);
      tHere.send({ type: 'msg', body: 'still here' });
      expect(await cHere.next()).toEqual({ type: 'msg', body: 'still here' });

      if (how === 'killed') await redis.restart();
      else redis.resume();
      await Promise.all([untilReady(a.port), untilReady(b.port)]);
      const [t2, c2] = await pairAcross(a.port, b.port);
      t2.send({ type: 'msg', body: 'again' });
      expect(await c2.next()).toEqual({ type: 'msg', body: 'again' });

      // No code can be used twice, even if Redis has lost it, and its listener is still told of a second try.
      for (const { port } of [a, b]) {
        for (const code of [burnt, burntHere]) {
          expect(await answerTo(port, { type: 'join', v: 1, code })).toEqual(error('code_used'));
        }
        expect(await tHere.next()).toEqual(error('code_used'));
        expect(await answerTo(port, { type: 'join', v: 1, code: open })).toEqual(error('code_not_found'));
      }
      const redisEvents = a.log.filter(({ event }) => event === 'redis').map(({ outcome }) => outcome);
      expect(redisEvents.slice(0, 2)).toEqual(['connected', 'away']);
      expect(redisEvents.at(-1)).toBe('connected');
    });
  });

  it('a Redis that loses all keys while it runs: the open codes end, and none can be used twice', async (test) => {
    const { redis, startTwo } = await stage(test);
    const [a, b] = await startTwo();
    const [, c, burnt] = await pairAcross(a.port, b.port);
    const waiting = await Client.open(a.port);
    await waiting.listen();
    const client = new Redis(redis.url);
    await client.flushall();
    expect(await within(c.next())).toEqual({ type: 'peer_gone' });
    expect(await within(waiting.next())).toEqual(error('unavailable'));
    await Promise.all([untilReady(a.port), untilReady(b.port)]);
    expect(await client.get(`amesh:relay:code:${burnt}`)).toBe('used');
    expect(await answerTo(b.port, { type: 'join', v: 1, code: burnt })).toEqual(error('code_used'));
    client.disconnect();
  });

  it('a Redis that replies after a second: everything works, only later', async (test) => {
    const { redis, startTwo } = await stage(test);
    const slow = await startSlowly(redis.port, 1000);
    const [a, b] = await startTwo(`redis://127.0.0.1:${slow.port}`);
    await Promise.all([untilReady(a.port), untilReady(b.port)]);
    const [t, c, code] = await pairAcross(a.port, b.port);
    t.send({ type: 'msg', body: 'slowly' }).send({ type: 'msg', body: 'but surely' });
    expect(await c.next()).toEqual({ type: 'msg', body: 'slowly' });
    expect(await c.next()).toEqual({ type: 'msg', body: 'but surely' });
    expect(await answerTo(b.port, { type: 'join', v: 1, code })).toEqual(error('code_used'));
    expect(await t.next()).toEqual(error('code_used'));
    c.send({ type: 'bye' });
    expect(await within(t.next())).toEqual({ type: 'peer_gone' });
    await Promise.all([a.relay.close(), b.relay.close()]);
    await slow.close();
  });

  it('a start without Redis: not ready and unavailable, until Redis comes', async (test) => {
    const { redis, startOneAtOnce } = await stage(test);
    await redis.stop();
    const a = await startOneAtOnce();
    expect(a.log[0]).toMatchObject({ event: 'redis', outcome: 'away', reason: 'ECONNREFUSED' });
    expect(a.log.filter(({ event }) => event === 'redis')).toHaveLength(1);
    expect(await readiness(a.port)).toBe(503);
    expect(await answerTo(a.port, { type: 'listen', v: 1 })).toEqual(error('unavailable'));
    await redis.restart();
    await untilReady(a.port);
    await (await Client.open(a.port)).listen();
  });

  it('a Redis that wants another password: the log says why, without it', async (test) => {
    const { redis, startOneAtOnce, startTwo } = await stage(test, '--requirepass', 'right');
    const a = await startOneAtOnce(redis.url.replace('//', '//:hunter2@'));
    const [b] = await startTwo(redis.url.replace('//', '//:right@'));
    expect(a.log[0]).toMatchObject({ event: 'redis', outcome: 'away', reason: 'WRONGPASS' });
    expect(JSON.stringify(a.log)).not.toContain('hunter2');
    expect(await readiness(b.port)).toBe(200);
  });

  it('a Redis that is full: not ready', async (test) => {
    const { startOneAtOnce } = await stage(test, '--maxmemory', '1kb');
    const a = await startOneAtOnce();
    expect(a.log[0]).toMatchObject({ event: 'redis', outcome: 'away', reason: 'OOM' });
    expect(await answerTo(a.port, { type: 'listen', v: 1 })).toEqual(error('unavailable'));
  });

  it('a shutdown while Redis comes back still ends', async (test) => {
    const { redis, startTwo } = await stage(test);
    const [a, b] = await startTwo();
    const client = open(redis.url, test);
    await client.flushall();
    // It has lost its memory, and all wait for 2 seconds.
    await test.expect.poll(() => client.exists('amesh:relay:epoch'), { interval: 20 }).toBe(1);
    await within(Promise.all([a.relay.close(), b.relay.drain(0)]));
  });

  it('a shutdown while it starts: nothing is left, and nothing listens', async (test) => {
    const { redis } = await stage(test);
    const relay = createRelay({ redis: redis.url });
    const listening = relay.listen(0, '127.0.0.1');
    const client = open(redis.url, test);
    await test.expect.poll(() => client.exists('amesh:relay:epoch'), { interval: 20 }).toBe(1);
    await within(Promise.all([relay.close(), expect(listening).rejects.toThrow('This relay has closed.')]));
    const connections = async () =>
      String(await client.client('LIST'))
        .trim()
        .split('\n');
    await test.expect.poll(connections).toHaveLength(1);
  });

  it('a port that is taken: the relay can listen on another one', async (test) => {
    const { redis, startTwo } = await stage(test);
    const [a] = await startTwo();
    const relay = createRelay({ redis: redis.url });
    await expect(relay.listen(a.port, '127.0.0.1')).rejects.toThrow('EADDRINUSE');
    const { port } = await relay.listen(0, '127.0.0.1');
    await untilReady(port);
    await relay.close();
  });

  it('a shutdown while Redis hangs still ends', async (test) => {
    const { redis, startTwo } = await stage(test);
    const [a, b] = await startTwo();
    const [t] = await pairAcross(a.port, b.port);
    redis.pause();
    await within(Promise.all([a.relay.drain(500), b.relay.close()]));
    expect(await t.next()).not.toBeNull();
  });
});

/** A proxy in front of Redis whose answers take their time. */
async function startSlowly(port: number, ms: number) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const upstream = connect(port, '127.0.0.1');
    sockets.add(socket).add(upstream);
    socket.pipe(upstream);
    upstream.on('data', (chunk) => setTimeout(() => socket.write(chunk), ms));
    for (const end of [socket, upstream])
      end
        .on('error', () => {})
        .on('close', () => {
          socket.destroy();
          upstream.destroy();
        });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
