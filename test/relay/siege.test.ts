import { once } from 'node:events';
import { connect } from 'node:net';
import { createRelay } from '@authmesh/relay';
import { afterEach, describe, expect, it } from 'vitest';
import { parseLimits } from '../../relay/src/limits/limits';
import { RelaySession } from '../../src/pairing/relay/session';
import { Client, metric, startRelay } from './client';

/** The limits of a relay with fifty places where a real one has five thousand. */
const SMALL = { sessions: 50, mailboxes: 50, sockets: 150, mailboxBytes: 200_000 };
const UNHURRIED = { listensPerMinute: 100_000 };
const PROXY = ['127.0.0.1'];
const error = (code: string) => ({ type: 'error', code });

let port = 0;
let close = async () => {};
afterEach(() => close());
async function start(limits = {}) {
  const running = await startRelay({ trustedProxies: PROXY, limits: { ...SMALL, ...UNHURRIED, ...limits } });
  port = running.port;
  close = () => running.relay.close();
  return running;
}

const from = (address: string) => Client.open(port, { headers: { 'x-forwarded-for': address } });
/** Sixty /64s of one /48, and sixty of as many /48s. */
const ATTACKERS: readonly [string, (i: number) => string][] = [
  ['one /48', (i) => `2001:db8:1:${i.toString(16)}::1`],
  ['as many /48s', (i) => `2001:db8:${(i + 1).toString(16)}:1::1`],
];
const HONEST = '198.51.100.7';
const boxOf = (name: string) => name.padEnd(16, '-');
const post = (name: string, body = 'x') => ({ type: 'post', v: 1, box: boxOf(name), body });
const wait = (name: string) => ({ type: 'wait', v: 1, box: boxOf(name) });

/** A pairing and a mailbox, both from somewhere else. */
async function expectRoomForOthers(): Promise<void> {
  const [t, c] = [await from(HONEST), await from(HONEST)];
  c.join(await t.listen());
  expect(await Promise.all([t.next(), c.next()])).toEqual([{ type: 'peer' }, { type: 'peer' }]);
  t.send({ type: 'msg', body: 'hello' });
  expect(await c.next()).toEqual({ type: 'msg', body: 'hello' });
  const waiting = (await from(HONEST)).send(wait('honest'));
  await from(HONEST).then((client) => client.send(post('honest', 'a registration')).closed);
  expect(await waiting.next()).toEqual({ type: 'msg', body: 'a registration' });
  await from(HONEST).then((client) => client.send(post('honest2', 'later')).closed);
  expect(await (await from(HONEST)).send(wait('honest2')).next()).toEqual({ type: 'msg', body: 'later' });
}

describe.each(ATTACKERS)('a siege from sixty /64s of %s', (_, address) => {
  /** What the relay says to each first. */
  const besiege = async (frame: (i: number) => object, count = 60) => {
    const clients = await Promise.all(Array.from({ length: count }, (_, i) => from(address(i))));
    for (const [i, client] of clients.entries()) client.send(frame(i));
    return clients;
  };

  it.each([
    ['of one byte', 1],
    ['of 8 KB', 8000],
  ])(
    'posts %s whose senders have gone: listen, join, wait and post succeed from elsewhere',
    async (_, bytes) => {
      await start();
      const clients = await besiege((i) => post(`${i}`, 'x'.repeat(bytes)));
      await Promise.all(clients.map(({ closed }) => closed));
      expect(await metric(port, 'amesh_relay_share_places{share="sessions"}')).toBe(0);
      await expectRoomForOthers();
      const [places, held] = ['places', 'bytes'].map(
        (what) => `amesh_relay_share_${what}{share="mailboxes"}`,
      );
      expect(await metric(port, places as string)).toBeLessThanOrEqual(50);
      expect(await metric(port, held as string)).toBeLessThanOrEqual(200_000);
      expect(await metric(port, 'amesh_relay_share_evicted_total{share="mailboxes"}')).toBeGreaterThan(0);
    },
  );

  it('listeners: listen succeeds, and one of them is told that the relay is full', async () => {
    await start();
    // Two of each: networks that have one place each would be as good as the newcomer.
    const clients = await Promise.all(Array.from({ length: 50 }, (_, i) => from(address(i % 25))));
    await Promise.all(clients.map((client) => client.listen()));
    expect(await (await from(address(0))).send({ type: 'listen', v: 1 }).next()).toEqual(error('capacity'));
    const hears = Promise.race(clients.map((client) => client.next()));
    await expectRoomForOthers();
    expect(await hears).toEqual(error('capacity'));
  });

  it('a message of an address that holds less stays', async () => {
    await start();
    await from(HONEST).then((client) => client.send(post('before', 'still here')).closed);
    for (let round = 0; round < 4; round++) {
      const clients = await Promise.all(Array.from({ length: 25 }, (_, i) => from(address(i))));
      for (const [i, client] of clients.entries()) client.send(post(`${round}-${i}`));
      await Promise.all(clients.map(({ closed }) => closed));
    }
    expect(await (await from(HONEST)).send(wait('before')).next()).toEqual({
      type: 'msg',
      body: 'still here',
    });
  });

  it('clients that wait at mailboxes: listen and join succeed', async () => {
    await start();
    await besiege((i) => wait(`${i}`), 50);
    const [t, c] = [await from(HONEST), await from(HONEST)];
    c.join(await t.listen());
    expect(await c.next()).toEqual({ type: 'peer' });
  });
});

describe('the terminal of a client that is refused', () => {
  const message = () =>
    `The relay at ws://127.0.0.1:${port}/ws is busy (capacity). Try again in a minute, or use another relay: --relay URL`;

  it('shows why and what to do, before there is a code and when the code is evicted', async () => {
    await start({ sessions: 2 });
    const options = { relay: `ws://127.0.0.1:${port}/ws` };
    const first = await RelaySession.listen(options);
    const second = await RelaySession.listen(options);
    await expect(RelaySession.listen(options)).rejects.toMatchObject({
      code: 'relay_busy',
      message: message(),
    });
    const evicted = expect(first.session.peer(60)).rejects.toMatchObject({ message: message() });
    await (await from(HONEST)).listen();
    await evicted;
    await Promise.all([first.session.end(), second.session.end()]);
  });
});

describe('AMESH_RELAY_LIMITS', () => {
  it.each([
    [undefined, {}],
    ['', {}],
    ['sessions=500', { sessions: 500 }],
    ['sessions=500, mailboxes=200', { sessions: 500, mailboxes: 200 }],
  ])('%j', (text, limits) => expect(parseLimits(text)).toEqual(limits));

  it.each([
    ['500', 'write name=number'],
    ['sessions=', 'write name=number'],
    ['sessions=500,', 'write name=number'],
    ['sessions = 500', 'write name=number'],
    ['sessions=5e3', 'write name=number'],
    ['sessions=0', 'sessions must be a whole number from 1'],
    ['sessions=1,sessions=2', 'sessions occurs twice'],
    ['toString=1', 'Unknown limit "toString"'],
  ])('%j is refused', (text, message) => {
    expect(() => parseLimits(text)).toThrow(TypeError);
    expect(() => parseLimits(text)).toThrow(`AMESH_RELAY_LIMITS: ${message}`);
  });
});

describe('places of sockets', () => {
  it('go to a newcomer, from the network that holds most', async () => {
    await start({ sockets: 40 });
    const clients = await Promise.all(
      Array.from({ length: 40 }, (_, i) => from(`2001:db8:1:${(i % 4).toString(16)}::1`)),
    );
    await expectRoomForOthers();
    expect(await Promise.race(clients.map((client) => client.next()))).toEqual(error('capacity'));
    expect(await metric(port, 'amesh_relay_share_evicted_total{share="sockets"}')).toBeGreaterThan(0);
  });

  it('are not kept by sockets that do not close when told to: the oldest is cut', async () => {
    await start({ sockets: 1, socketsPerAddress: 1000 });
    await from('192.0.2.1');
    const upgrade = `GET /ws HTTP/1.1\r\nHost: relay\r\nX-Forwarded-For: 192.0.2.2\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`;
    const deaf = Array.from({ length: 550 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    for (const socket of deaf) socket.write(upgrade);
    await Promise.all(deaf.map((socket) => once(socket, 'data')));
    expect(await metric(port, 'amesh_relay_refused_upgrades_total')).toBe(0);
    expect(await metric(port, 'amesh_relay_cut_sockets_total')).toBeGreaterThanOrEqual(50);
    for (const socket of deaf) socket.destroy();
  });

  it('connections of a network that never become sockets leave space for another network', async () => {
    const relay = createRelay({ limits: { sockets: 100, socketsPerAddress: 10 } });
    ({ port } = await relay.listen(0, '127.0.0.1'));
    close = () => relay.close();
    const silent = Array.from({ length: 700 }, (_, i) =>
      connect({ port, host: '127.0.0.1', localAddress: `127.0.7.${1 + Math.floor(i / 20)}` }),
    );
    await Promise.all(
      silent.map((socket) =>
        once(
          socket.on('error', () => {}),
          'connect',
        ),
      ),
    );
    await (await Client.open(port, { from: '127.0.8.1' })).listen();
    expect(await metric(port, 'amesh_relay_share_evicted_total{share="connections"}')).toBeGreaterThan(0);
    for (const socket of silent) socket.destroy();
  });
});

describe('bytes that sockets hold', () => {
  const BIG = { socketBytes: 300_000, socketsPerAddress: 100 };

  it('are limited for messages that never end: the sockets that hold most are cut, and a pairing continues', async () => {
    await start(BIG);
    const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => from(`192.0.2.${i}`)));
    for (const client of clients) {
      await client.listen();
      client.socket.send('x'.repeat(50_000), { fin: false });
    }
    const cut = () => metric(port, 'amesh_relay_cut_sockets_total');
    await expect.poll(cut).toBeGreaterThan(5);
    expect(await metric(port, 'amesh_relay_share_bytes{share="sockets"}')).toBeLessThanOrEqual(300_000);
    await expectRoomForOthers();
  });

  it('include pongs that come with a part of a message, which keeps them in memory', async () => {
    await start();
    const client = await from('192.0.2.1');
    await client.listen();
    client.socket.send('x', { fin: false });
    for (let i = 0; i < 1500; i++) client.socket.pong('p'.repeat(125));
    expect(await client.closed).toBe(1006);
    expect(await metric(port, 'amesh_relay_cut_sockets_total')).toBe(1);
  });

  it('are none for a client that sends whole messages, however many, with pings between', async () => {
    await start(BIG);
    const [t, c] = [await from(HONEST), await from(HONEST)];
    c.join(await t.listen());
    await Promise.all([t.next(), c.next()]);
    for (let i = 0; i < 8; i++) {
      for (let ping = 0; ping < 5; ping++) t.socket.ping('x'.repeat(100));
      t.send({ type: 'msg', body: 'x'.repeat(8000) });
      expect(await c.next()).toMatchObject({ type: 'msg' });
    }
    await expect.poll(() => metric(port, 'amesh_relay_share_bytes{share="sockets"}')).toBe(0);
  });

  it('are few for a client that sends each message in parts', async () => {
    await start();
    const [t, c] = [await from(HONEST), await from(HONEST)];
    c.join(await t.listen());
    await Promise.all([t.next(), c.next()]);
    const message = JSON.stringify({ type: 'msg', body: 'x'.repeat(1900) });
    for (let i = 0; i < 32; i++) {
      for (let at = 0; at < 30; at++) {
        await new Promise<void>((resolve) =>
          t.socket.send(message.slice(at * 60, at * 60 + 60), { fin: false }, () => resolve()),
        );
      }
      t.socket.send(message.slice(1800));
      expect(await c.next()).toMatchObject({ type: 'msg' });
    }
    expect(await metric(port, 'amesh_relay_share_bytes{share="sockets"}')).toBeLessThan(10_000);
  });

  it('are limited for clients that do not read', async () => {
    await start({ ...BIG, messageBytes: 60_000, bytesPerDirection: 1e9, messagesPerDirection: 10_000 });
    const [t, c] = [await from('192.0.2.1'), await from('192.0.2.1')];
    c.join(await t.listen());
    await Promise.all([t.next(), c.next()]);
    t.socket.pause();
    const gone = c.next();
    const frame = JSON.stringify({ type: 'msg', body: 'a'.repeat(60_000) });
    for (let i = 0; i < 2000 && c.socket.readyState === c.socket.OPEN; i++) {
      await new Promise<void>((resolve) => c.socket.send(frame, () => resolve()));
    }
    expect(await gone).toEqual({ type: 'peer_gone' });
    t.socket.resume();
    await expectRoomForOthers();
  });
});

describe('what else a stranger can repeat', () => {
  it('wrong codes from many /64s of one /48 are limited together, and another network is not', async () => {
    await start({ failedJoinsPerMinute: 1 });
    const answers = [];
    for (let i = 0; i < 20; i++) {
      const address = `2001:db8:1:${(i * 256).toString(16)}::1`;
      const frame = await (await from(address)).join('999999').next();
      answers.push(frame?.type === 'error' && frame.code);
    }
    expect(answers).toEqual([...Array(16).fill('code_not_found'), ...Array(4).fill('rate_limited')]);
    await expectRoomForOthers();
  });

  it('requests over one connection: a hundred are answered, then it is closed', async () => {
    await start();
    const socket = connect(port, '127.0.0.1').setEncoding('latin1');
    let answers = '';
    socket.write('GET /metrics HTTP/1.1\r\nHost: relay\r\n\r\n'.repeat(300));
    for await (const text of socket) {
      answers += text;
      if (/^connection: close/im.test(answers)) break;
    }
    expect(answers.match(/^HTTP\/1\.1 200/gm)?.length).toBeLessThanOrEqual(100);
  });

  it('lines in the log: a hundred a second, and how many were left out', async () => {
    const { log } = await start({ mailboxesPerAddress: 1000, socketsPerAddress: 1000, sockets: 1000 });
    const startedAt = Date.now();
    for (let posts = 0; posts < 400; ) {
      const clients = await Promise.all(Array.from({ length: 50 }, () => from('192.0.2.1')));
      for (const client of clients) client.send(post(`${posts++}`));
      await Promise.all(clients.map(({ closed }) => closed));
    }
    const seconds = 2 + Math.floor((Date.now() - startedAt) / 1000);
    const written = () => log.filter(({ event, outcome }) => event === 'post' && outcome === 'stored').length;
    expect(written()).toBeLessThanOrEqual(100 * seconds);
    await expect
      .poll(async () => {
        await from(HONEST).then((client) => client.send({ type: 'bye' }).closed);
        await from(HONEST).then((client) => client.send(post('next')).closed);
        return log.reduce((sum, { count = 0 }) => sum + count, written());
      })
      .toBeGreaterThanOrEqual(400);
    expect(log.filter(({ event }) => event === 'suppressed').every(({ count = 0 }) => count > 0)).toBe(true);
  });
});
