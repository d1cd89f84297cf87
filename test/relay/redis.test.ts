import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { Client, type ClientOptions, metric, startRelay, type TestRelay } from './client';

const error = (code: string, more = {}) => ({ type: 'error', code, ...more });
const BOX = 'a-mailbox-of-its-own-';

describeWithRedis('several instances with one Redis', () => {
  let redis: RedisServer;
  let client: Redis;
  beforeAll(async () => {
    redis = await startRedis();
    client = new Redis(redis.url);
  });
  afterAll(async () => {
    client?.disconnect();
    await redis?.stop();
  });

  const running: TestRelay[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map(({ relay }) => relay.close()));
  });

  async function start(limits = {}, count = 2): Promise<TestRelay[]> {
    const started = Array.from({ length: count }, () => startRelay({ redis: redis.url, limits }));
    running.push(...(await Promise.all(started)));
    return running;
  }

  /** A listener at the one instance and a joiner at the other, each having been told. */
  async function pairAcross(
    [a, b]: readonly TestRelay[],
    options: ClientOptions = {},
  ): Promise<[Client, Client, string]> {
    const listener = await Client.open((a as TestRelay).port, options);
    const joiner = await Client.open((b as TestRelay).port, options);
    const code = await listener.listen();
    joiner.join(code);
    expect(await Promise.all([listener.next(), joiner.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
    return [listener, joiner, code];
  }

  const refused = async (port: number, frame: object, from = '127.0.0.1') =>
    (await Client.open(port, { from })).send(frame).next();

  describe('a pairing across instances', () => {
    it('passes messages both ways, in order, and ends for both', async () => {
      const [t, c] = await pairAcross(await start());
      const bodies = Array.from({ length: 32 }, (_, i) => `${i} é\u0000\ud83d\ude00"\\ \ud800`);
      for (const body of bodies) {
        t.send({ type: 'msg', body });
        c.send({ type: 'msg', body: `re: ${body}` });
      }
      for (const body of bodies) {
        expect(await c.next()).toEqual({ type: 'msg', body });
        expect(await t.next()).toEqual({ type: 'msg', body: `re: ${body}` });
      }
      c.send({ type: 'bye' });
      expect(await t.next()).toEqual({ type: 'peer_gone' });
      expect(await Promise.all([t.closed, c.closed])).toEqual([1000, 1000]);
    });

    it.each(['listener', 'joiner'])('sends peer_gone when the %s dies', async (which) => {
      const [t, c] = await pairAcross(await start());
      const [dies, stays] = which === 'listener' ? [t, c] : [c, t];
      await dies.end();
      expect(await stays.next()).toEqual({ type: 'peer_gone' });
      for (const { port } of running) {
        await expect.poll(() => metric(port, 'amesh_relay_sessions{state="paired"}')).toBe(0);
      }
    });

    it('has one session ID in the logs of both, and no code or body in either', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const [t, c, code] = await pairAcross([a, b]);
      c.send({ type: 'msg', body: 'a secret' }).send({ type: 'bye' });
      await t.closed;
      const joins = [a, b].map(({ log }) => log.find(({ event }) => event === 'join')?.session);
      expect(joins[0]).toMatch(/^[0-9a-f-]{36}$/);
      expect(joins[1]).toBe(joins[0]);
      expect(JSON.stringify([a.log, b.log])).not.toMatch(new RegExp(`[^0-9]${code}[^0-9]|secret|127\\.`));
    });

    it('accepts 32 messages in one direction and no more', async () => {
      const [t, c] = await pairAcross(await start());
      for (let i = 0; i < 33; i++) c.send({ type: 'msg', body: '' });
      expect(await c.next()).toEqual(error('too_large'));
      expect(await t.rest()).toEqual([
        ...Array.from({ length: 32 }, () => ({ type: 'msg', body: '' })),
        { type: 'peer_gone' },
      ]);
    });

    it('accepts 64 KiB in one direction, 8 KiB at a time, and no byte more', async () => {
      const [t, c] = await pairAcross(await start());
      const body = '\u0001'.repeat(8192);
      for (let i = 0; i < 8; i++) t.send({ type: 'msg', body });
      for (let i = 0; i < 8; i++) expect(await c.next()).toEqual({ type: 'msg', body });
      t.send({ type: 'msg', body: 'a' });
      expect(await t.next()).toEqual(error('too_large'));
      expect(await c.next()).toEqual({ type: 'peer_gone' });
      const [t2, c2] = await pairAcross(running);
      c2.send({ type: 'msg', body: `${body}a` });
      expect(await c2.next()).toEqual(error('too_large'));
      expect(await t2.next()).toEqual({ type: 'peer_gone' });
    });

    it('ends for both when its time is over', async () => {
      const [t, c] = await pairAcross(await start({ sessionMs: 700 }));
      expect(await Promise.all([t.next(), c.next()])).toEqual([
        error('session_expired'),
        error('session_expired'),
      ]);
    });
  });

  describe('a code', () => {
    it('is burnt everywhere: a second join gets code_used at each instance, and the listener is told', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const [t, c, code] = await pairAcross([a, b]);
      for (const { port } of [a, b]) {
        expect(await refused(port, { type: 'join', v: 1, code })).toEqual(error('code_used'));
        expect(await t.next()).toEqual(error('code_used'));
      }
      c.send({ type: 'msg', body: 'still here' });
      expect(await t.next()).toEqual({ type: 'msg', body: 'still here' });
      await t.end();
      expect(await c.next()).toEqual({ type: 'peer_gone' });
      for (const { port } of [a, b]) {
        expect(await refused(port, { type: 'join', v: 1, code })).toEqual(error('code_used'));
      }
    });

    it('race: of 50 joins at two instances exactly one succeeds', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const t = await Client.open(a.port);
      // From an address each, so that no limit comes in between.
      const joiners = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          Client.open((i % 2 === 0 ? a : b).port, { from: `127.0.2.${i + 1}` }),
        ),
      );
      const code = await t.listen();
      for (const joiner of joiners) joiner.join(code);
      const answers = await Promise.all(joiners.map((joiner) => joiner.next()));
      expect(answers.filter((answer) => answer?.type === 'peer')).toHaveLength(1);
      expect(
        answers.filter((answer) => answer?.type === 'error' && answer.code === 'code_used'),
      ).toHaveLength(49);
      expect(await t.next()).toEqual({ type: 'peer' });
      for (let i = 0; i < 49; i++) expect(await t.next()).toEqual(error('code_used'));
      const winner = joiners[answers.findIndex((answer) => answer?.type === 'peer')] as Client;
      winner.send({ type: 'msg', body: 'me' });
      expect(await t.next()).toEqual({ type: 'msg', body: 'me' });
    });

    it('race: two joins at the same time, one at each instance', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      for (let round = 0; round < 20; round++) {
        const from = `127.0.3.${round + 1}`;
        const [t, x, y] = (await Promise.all([a, a, b].map(({ port }) => Client.open(port, { from })))) as [
          Client,
          Client,
          Client,
        ];
        const code = await t.listen();
        x.join(code);
        y.join(code);
        const answers = await Promise.all([x.next(), y.next()]);
        expect(answers).toContainEqual({ type: 'peer' });
        expect(answers).toContainEqual(error('code_used'));
        expect(await t.next()).toEqual({ type: 'peer' });
        expect(await t.next()).toEqual(error('code_used'));
        await Promise.all([t.end(), x.end(), y.end()]);
      }
    });

    it('is joined at its own instance, too', async () => {
      const [a] = (await start()) as [TestRelay];
      const [t, c] = await pairAcross([a, a]);
      t.send({ type: 'msg', body: 'here' });
      expect(await c.next()).toEqual({ type: 'msg', body: 'here' });
      await c.end();
      expect(await t.next()).toEqual({ type: 'peer_gone' });
    });

    it('that has ended is found at no instance, and is not given out again for 10 minutes', async () => {
      const [a, b] = (await start({ codeMs: 300 })) as [TestRelay, TestRelay];
      const t = await Client.open(a.port);
      const expired = await t.listen();
      expect(await t.next()).toEqual(error('session_expired'));
      const u = await Client.open(a.port);
      const givenUp = await u.listen();
      await u.send({ type: 'bye' }).closed;
      for (const { port } of [a, b]) {
        for (const code of [expired, givenUp]) {
          expect(await refused(port, { type: 'join', v: 1, code })).toEqual(error('code_not_found'));
        }
      }
      for (const code of [expired, givenUp]) {
        expect(await client.get(`amesh:relay:code:${code}`)).toBe('over');
        expect(await client.pttl(`amesh:relay:code:${code}`)).toBeGreaterThan(590_000);
      }
    });

    it('rests in Redis from the first moment until 10 minutes after the join', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const t = await Client.open(a.port);
      const code = await t.listen();
      const key = `amesh:relay:code:${code}`;
      expect(await client.pttl(key)).toBeGreaterThan(650_000);
      const c = (await Client.open(b.port)).join(code);
      expect(await c.next()).toEqual({ type: 'peer' });
      expect(await client.get(key)).toMatch(/^used \S{36} \S{36}$/);
      const restMs = await client.pttl(key);
      expect(restMs).toBeGreaterThan(590_000);
      expect(restMs).toBeLessThanOrEqual(600_000);
    });

    it('whose joiner leaves immediately leaves nobody waiting', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const t = await Client.open(a.port);
      const code = await t.listen();
      const c = (await Client.open(b.port)).join(code);
      c.socket.terminate();
      const first = await t.next();
      if (first?.type === 'peer') expect(await t.next()).toEqual({ type: 'peer_gone' });
      await t.closed;
    });

    it('guessing: ten wrong codes of one address, even when all are sent at once', async () => {
      const [a] = (await start()) as [TestRelay];
      const clients = await Promise.all(
        Array.from({ length: 20 }, () => Client.open(a.port, { from: '127.0.4.1' })),
      );
      for (const client of clients) client.join('999999');
      const answers = await Promise.all(clients.map((client) => client.next()));
      const codes = answers.map((answer) => answer?.type === 'error' && answer.code).sort();
      expect(codes).toEqual([...Array(10).fill('code_not_found'), ...Array(10).fill('rate_limited')]);
    });
  });

  describe('a mailbox', () => {
    const post = (box: string, body: string) => ({ type: 'post', v: 1, box, body });
    const wait = (box: string) => ({ type: 'wait', v: 1, box });
    const HARD = `wait x y\n full \u0000 <> \ud800 ${'é'.repeat(100)}`;

    it('gives its message to a client at another instance, and accepts no second one', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const w = (await Client.open(a.port)).send(wait(`${BOX}1`));
      await expect.poll(() => client.get(`amesh:relay:box:${BOX}1`)).toMatch(/^wait /);
      expect(await refused(b.port, wait(`${BOX}1`))).toEqual(error('code_used'));
      const p = (await Client.open(b.port)).send(post(`${BOX}1`, HARD));
      expect(await w.next()).toEqual({ type: 'msg', body: HARD });
      expect(await p.rest()).toEqual([]);
      expect(await w.closed).toBe(1000);
      for (const { port } of [a, b]) {
        expect(await refused(port, post(`${BOX}1`, 'again'))).toEqual(error('code_used'));
        expect(await refused(port, wait(`${BOX}1`))).toEqual(error('code_used'));
      }
    });

    it('keeps a message until a client waits, at any instance', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      expect(await refused(a.port, post(`${BOX}2`, HARD))).toBeNull();
      expect(await refused(b.port, post(`${BOX}2`, 'another'))).toEqual(error('code_used'));
      expect(await client.pttl(`amesh:relay:box:${BOX}2`)).toBeGreaterThan(290_000);
      expect(await refused(b.port, wait(`${BOX}2`))).toEqual({ type: 'msg', body: HARD });
      expect(await refused(a.port, wait(`${BOX}2`))).toEqual(error('code_used'));
    });

    it('is free when the client that waits leaves, and when its time is over', async () => {
      const [a, b] = (await start({ sessionMs: 500 })) as [TestRelay, TestRelay];
      const w = (await Client.open(a.port)).send(wait(`${BOX}3`));
      await expect.poll(() => client.get(`amesh:relay:box:${BOX}3`)).toMatch(/^wait /);
      await w.end();
      await expect.poll(() => client.get(`amesh:relay:box:${BOX}3`)).toBeNull();
      const again = (await Client.open(b.port)).send(wait(`${BOX}3`));
      expect(await again.next()).toEqual(error('session_expired'));
      for (const { port } of running) {
        await expect.poll(() => metric(port, 'amesh_relay_sessions{state="mailbox"}')).toBe(0);
      }
    });

    it('has no key in Redis after it was evicted, with its message or without', async () => {
      const [a, b] = (await start({ mailboxes: 2, listensPerMinute: 100 })) as [TestRelay, TestRelay];
      const boxes = async () =>
        (await client.keys(`amesh:relay:box:${BOX}way*`)).map((key) => key.slice(-1)).sort();
      const box = (n: number) => `${BOX}way${n}`;
      for (const n of [1, 2]) expect(await refused(a.port, post(box(n), HARD))).toBeNull();
      expect(await refused(b.port, wait(box(2)))).toEqual({ type: 'msg', body: HARD });
      const waiting = (await Client.open(b.port)).send(wait(box(3)));
      await expect.poll(boxes).toEqual(['1', '2', '3']);
      expect(await refused(a.port, post(box(3), HARD))).toBeNull();
      expect(await waiting.next()).toEqual({ type: 'msg', body: HARD });
      await expect.poll(boxes).toEqual(['2', '3']);
      for (const n of [4, 5, 6]) expect(await refused(a.port, post(box(n), HARD))).toBeNull();
      await expect.poll(boxes).toEqual(['5', '6']);
    });

    it('race: of many posts at two instances exactly one is accepted', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const clients = await Promise.all(
        Array.from({ length: 10 }, (_, i) => Client.open((i % 2 === 0 ? a : b).port)),
      );
      clients.forEach((client, i) => void client.send(post(`${BOX}4`, `${i}`)));
      const answers = await Promise.all(clients.map((client) => client.next()));
      expect(answers.filter((answer) => answer === null)).toHaveLength(1);
      expect(await refused(b.port, wait(`${BOX}4`))).toEqual({
        type: 'msg',
        body: String(answers.indexOf(null)),
      });
    });
  });

  describe('draining one of them', () => {
    it('lets a session across instances end and a code be joined elsewhere, and does not disturb the other instance', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const [t, c] = await pairAcross([a, b]);
      const waits = await Client.open(a.port);
      const code = await waits.listen();
      const drained = a.relay.drain();
      expect((await fetch(`http://127.0.0.1:${a.port}/ready`)).status).toBe(503);
      expect((await fetch(`http://127.0.0.1:${b.port}/ready`)).status).toBe(200);
      expect(await refused(a.port, { type: 'listen', v: 1 })).toEqual(error('draining'));
      const joins = (await Client.open(b.port)).join(code);
      expect(await joins.next()).toEqual({ type: 'peer' });
      t.send({ type: 'msg', body: 'still' });
      expect(await c.next()).toEqual({ type: 'msg', body: 'still' });
      joins.send({ type: 'bye' });
      c.send({ type: 'bye' });
      expect(await t.next()).toEqual({ type: 'peer_gone' });
      await drained;
      await (await Client.open(b.port)).listen();
    });

    it('ends what is left after the time given: draining here, peer_gone there', async () => {
      const [a, b] = (await start()) as [TestRelay, TestRelay];
      const [t, c] = await pairAcross([a, b]);
      await a.relay.drain(100);
      expect(await t.next()).toEqual(error('draining'));
      expect(await c.next()).toEqual({ type: 'peer_gone' });
      expect(await client.keys('amesh:relay:instance:*')).toHaveLength(1);
    });
  });

  it('an ioredis client is accepted in place of a URL, and is not changed', async () => {
    const own = new Redis(redis.url, { keyPrefix: 'mine:' });
    const [a, b] = await Promise.all([startRelay({ redis: own }), startRelay({ redis: redis.url })]);
    running.push(a, b);
    await pairAcross([a, b]);
    await a.relay.close();
    await own.set('key', 'value');
    expect(await own.get('key')).toBe('value');
    own.disconnect();
  });
});

describe('a wrong Redis', () => {
  it.each(['', 'localhost:6379', 'http://127.0.0.1', 'redis:', 1, null, {}])(
    '%j is a TypeError',
    async (redis) => {
      await expect(startRelay({ redis: redis as string })).rejects.toThrow(TypeError);
    },
  );

  it('is not shown, since there may be a password in it', async () => {
    const secret = 'http://user:hunter2@127.0.0.1';
    await expect(startRelay({ redis: secret })).rejects.toThrow(
      /^(?!.*hunter2).*REDIS_URL must be a URL such as/,
    );
  });

  it('that is an unknown option is named, with the options that there are', async () => {
    await expect(startRelay({ redisUrl: 'redis://127.0.0.1' } as never)).rejects.toThrow(
      'Unknown option "redisUrl". The options are trustedProxies, limits, redis, log.',
    );
  });
});
