import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { Client, metric, startRelay, type TestRelay } from './client';

const error = (code: string) => ({ type: 'error', code });
const BOX = 'a-mailbox-of-its-own-';
const CHANNEL = 'amesh:relay:to:';

// An attacker who can write to Redis can spoil pairings, as the operator of a relay can. The attacker must not crash an
// instance, pass a limit, or have a message delivered twice.
describeWithRedis('attacks through Redis', () => {
  let redis: RedisServer;
  let attacker: Redis;
  let a: TestRelay;
  let b: TestRelay;
  /** All that was said between instances so far. */
  const heard: { channel: string; text: string }[] = [];
  beforeAll(async () => {
    redis = await startRedis();
    attacker = new Redis(redis.url);
    const ear = attacker.duplicate();
    await ear.psubscribe(`${CHANNEL}*`);
    ear.on('pmessage', (_, channel, text) => heard.push({ channel, text }));
    [a, b] = await Promise.all([startRelay({ redis: redis.url }), startRelay({ redis: redis.url })]);
    return () => ear.disconnect();
  });
  afterAll(async () => {
    await Promise.all([a?.relay.close(), b?.relay.close()]);
    attacker?.disconnect();
    await redis?.stop();
  });

  let addresses = 0;
  async function pairAcross() {
    const from = `127.0.5.${++addresses}`;
    const [t, c] = [await Client.open(a.port, { from }), await Client.open(b.port, { from })];
    heard.length = 0;
    c.join(await t.listen());
    expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
    const { channel: toA, text } = heard.find(({ text }) => text.includes('"join"')) as (typeof heard)[0];
    const toB = heard.find(({ text }) => text.includes('"joined"'))?.channel as string;
    const { session, from: fromB } = JSON.parse(text) as { session: string; from: string };
    return { t, c, toA, toB, session, fromA: toB && toA.slice(CHANNEL.length), fromB };
  }

  /** Whether both sides still hear each other, and nothing else. */
  async function stillTalk(t: Client, c: Client) {
    t.send({ type: 'msg', body: 'to c' });
    c.send({ type: 'msg', body: 'to t' });
    expect(await Promise.all([t.next(), c.next()])).toEqual([
      { type: 'msg', body: 'to t' },
      { type: 'msg', body: 'to c' },
    ]);
  }

  it('malformed messages: a session continues', async () => {
    const { t, c, toA, toB, session, fromA, fromB } = await pairAcross();
    const letter = fc.record(
      {
        type: fc.constantFrom('join', 'joined', 'gone', 'expired', 'tried', 'msg', 'mail', 'peer', 1),
        session: fc.constantFrom<unknown>(session, session.toUpperCase(), '', null, [session]),
        from: fc.constantFrom<unknown>(fromA, `${fromB} `, '', {}),
        number: fc.constantFrom<unknown>(0, -1, 1.5, '1', 1e300),
        body: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom<unknown>('a'.repeat(9000), [], 1)),
        more: fc.constant(1),
      },
      { requiredKeys: ['more'] },
    );
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      letter.map((value) => JSON.stringify(value)),
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    );
    const sample = fc.sample(texts, 1000);
    await Promise.all(sample.flatMap((text) => [attacker.publish(toA, text), attacker.publish(toB, text)]));
    await stillTalk(t, c);
  });

  it('every message is sent twice: no client gets one twice', async () => {
    const { t, c } = await pairAcross();
    for (let i = 0; i < 3; i++) await stillTalk(t, c);
    for (const { channel, text } of [...heard]) await attacker.publish(channel, text);
    await stillTalk(t, c);
  });

  it('messages in the name of another instance are ignored', async () => {
    const { t, c, toA, toB, session } = await pairAcross();
    const from = '11111111-2222-4333-8444-555555555555';
    for (const type of ['joined', 'gone', 'expired', 'join']) {
      await attacker.publish(toA, JSON.stringify({ type, session, from }));
      await attacker.publish(toB, JSON.stringify({ type, session, from }));
    }
    const forged = { type: 'msg', session, from, number: 1, body: 'forged' };
    await attacker.publish(toA, JSON.stringify(forged));
    await stillTalk(t, c);
  });

  it('a message is lost: both clients get peer_gone, and no later message', async () => {
    const { t, c, toA, session, fromB } = await pairAcross();
    await attacker.publish(
      toA,
      JSON.stringify({ type: 'msg', session, from: fromB, number: 2, body: 'the second' }),
    );
    expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer_gone' }, { type: 'peer_gone' }]);
  });

  it('more messages than a side may send: the receiving instance counts them, too', async () => {
    const { t, toA, session, fromB } = await pairAcross();
    for (let number = 1; number <= 33; number++) {
      const body = 'a'.repeat(number < 9 ? 8192 : 0);
      await attacker.publish(toA, JSON.stringify({ type: 'msg', session, from: fromB, number, body }));
    }
    const frames = await t.rest();
    expect(frames).toHaveLength(33);
    expect(frames.at(-1)).toEqual({ type: 'peer_gone' });
  });

  it('invalid values of codes and mailboxes', async () => {
    const id = '11111111-2222-4333-8444-555555555555';
    const values = ['', 'open', 'open x y', `open ${id}`, `open ${id} ${id} ${id}`, 'open\n', 'full', 'null'];
    for (const [i, value] of values.entries()) {
      await attacker.set('amesh:relay:code:123456', value);
      const c = (await Client.open(b.port, { from: `127.0.6.${i + 1}` })).join('123456');
      const answer = await c.next();
      expect(['code_not_found', 'code_used'], value).toContain(answer?.type === 'error' && answer.code);
    }
    await attacker.del('amesh:relay:code:123456');
    await attacker.rpush('amesh:relay:code:123456', 'a list');
    const c = (await Client.open(b.port, { from: '127.0.6.99' })).join('123456');
    expect(await c.next()).toEqual(error('unavailable'));

    const boxes = ['full {', 'full 1', `full ${JSON.stringify('a'.repeat(9000))}`, 'wait', 'wait x y', ''];
    for (const [i, value] of boxes.entries()) {
      await attacker.set(`amesh:relay:box:${BOX}${i}`, value);
      const from = `127.0.7.${i + 1}`;
      const w = (await Client.open(a.port, { from })).send({ type: 'wait', v: 1, box: `${BOX}${i}` });
      // A mailbox awaited by an unknown instance is free; one with an unreadable value is not.
      if (value !== 'wait x y') {
        const answer = await w.next();
        expect(['code_used', 'unavailable'], value).toContain(answer?.type === 'error' && answer.code);
      }
      await w.end();
    }
    expect((await fetch(`http://127.0.0.1:${a.port}/ready`)).status).toBe(200);
  });

  it('after all of this nothing is left', async () => {
    for (const { port } of [a, b]) {
      for (const state of ['listening', 'mailbox']) {
        await expect.poll(() => metric(port, `amesh_relay_sessions{state="${state}"}`)).toBe(0);
      }
    }
  });
});
