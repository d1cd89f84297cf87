import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { createRelay } from '@authmesh/relay';
import { afterEach, describe, expect, it } from 'vitest';
import { Client, metric, pair, startRelay, type TestRelay } from './client';

let running: TestRelay | undefined;
const start = async (...options: Parameters<typeof startRelay>) => {
  running = await startRelay(...options);
  return running;
};
afterEach(async () => {
  await running?.relay.close();
  running = undefined;
});

const UPGRADE = `Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`;

/** A WebSocket whose bytes are ours to choose. */
async function upgradeByHand(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').setNoDelay();
  socket.on('error', () => {});
  socket.write(`GET /ws HTTP/1.1\r\n${UPGRADE}`);
  await once(socket, 'data');
  return socket.resume();
}

const LISTEN = { type: 'listen', v: 1 };
const error = (code: string) => ({ type: 'error', code });

describe('a pairing over real sockets', () => {
  it('passes messages both ways, in order, and ends for both', async () => {
    const { port } = await start();
    const [t, c] = await pair(port);
    const bodies = Array.from({ length: 32 }, (_, i) => `${i} é\u0000\ud83d\ude00"\\`);
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

  it('sends peer_gone when the other dies', async () => {
    const { port } = await start();
    const [t, c] = await pair(port);
    await t.end();
    expect(await c.next()).toEqual({ type: 'peer_gone' });
  });

  it('accepts the largest body, however it is escaped', async () => {
    const { port } = await start();
    const [t, c] = await pair(port);
    const body = '\u0001'.repeat(8192);
    t.send({ type: 'msg', body });
    expect(await c.next()).toEqual({ type: 'msg', body });
    t.send({ type: 'msg', body: `${body}a` });
    expect(await t.next()).toEqual(error('too_large'));
  });

  it('logs only time, event, a random session and the outcome', async () => {
    const { port, log } = await start();
    const listener = await Client.open(port, { from: '127.0.0.77' });
    const code = await listener.listen();
    const joiner = (await Client.open(port)).join(code);
    await Promise.all([joiner.next(), listener.next()]);
    joiner.send({ type: 'msg', body: 'a secret' }).send({ type: 'bye' });
    await listener.closed;
    expect(log.map(({ event, outcome }) => `${event} ${outcome}`)).toEqual([
      'started ready',
      'listen listening',
      'join paired',
      'end bye',
    ]);
    for (const entry of log) {
      const { time, event, outcome, session, ...rest } = entry;
      expect(rest).toEqual({});
      expect(session ?? '00000000-0000-4000-8000-000000000000').toMatch(/^[0-9a-f-]{36}$/);
      expect(`${time} ${event} ${outcome}`).not.toMatch(new RegExp(`${code}|secret|127\\.`));
    }
  });
});

describe('two joins at the same time', () => {
  it('exactly one gets the code; the other and the listener are told', async () => {
    const { port } = await start();
    for (let round = 0; round < 50; round++) {
      // From an address each, so that no limit comes in between.
      const from = `127.0.1.${round + 1}`;
      const [listener, a, b] = await Promise.all([1, 2, 3].map(() => Client.open(port, { from })));
      if (listener === undefined || a === undefined || b === undefined) throw new Error('no clients');
      const code = await listener.listen();
      a.join(code);
      b.join(code);
      const answers = await Promise.all([a.next(), b.next()]);
      expect(answers).toContainEqual({ type: 'peer' });
      expect(answers).toContainEqual(error('code_used'));
      expect(await listener.next()).toEqual({ type: 'peer' });
      expect(await listener.next()).toEqual(error('code_used'));
      await Promise.all([listener.end(), a.end(), b.end()]);
    }
  });
});

describe('hostile frames', () => {
  it.each([
    ['binary', Buffer.from('{"type":"listen","v":1}'), 'bad_message'],
    ['no JSON', 'hello', 'bad_message'],
    ['a code of five digits', { type: 'join', v: 1, code: '12345' }, 'bad_message'],
    ['a code as a number', { type: 'join', v: 1, code: 123456 }, 'bad_message'],
    ['another version', { type: 'listen', v: 2 }, 'unsupported_version'],
    ['a member too many', { ...LISTEN, name: 'x' }, 'bad_message'],
  ])('%s', async (_, frame, code) => {
    const { port } = await start();
    const client = (await Client.open(port)).send(frame);
    expect(await client.next()).toEqual(error(code));
    expect(await client.closed).toBe(1000);
  });

  it('a frame above 64 KiB is not even read', async () => {
    const { port } = await start();
    const client = (await Client.open(port)).send('a'.repeat(70_000));
    expect(await client.closed).toBe(1009);
    expect(await metric(port, 'amesh_relay_sockets')).toBe(0);
  });

  it('a message in many fragments is cut: each would keep what came with it in memory', async () => {
    const { port } = await start();
    const client = await Client.open(port);
    for (let i = 0; i < 33; i++) client.socket.send('a', { fin: false });
    expect(await client.closed).toBe(1008);
    const some = await Client.open(port);
    for (const part of ['{"type":', '"listen",']) some.socket.send(part, { fin: false });
    expect(await some.send('"v":1}').next()).toMatchObject({ type: 'listening' });
  });

  it('a frame in thousands of pieces is cut: each takes more than its byte', async () => {
    const { port } = await start();
    const socket = await upgradeByHand(port);
    const isClosed = new Promise((resolve) => socket.on('close', () => resolve(true)));
    socket.write(Buffer.from('81ff000000000000ea6000000000', 'hex')); // a text frame of 60,000 bytes
    let sent = 0;
    for (; sent < 59_999 && !socket.destroyed; sent++) {
      socket.write('a');
      await new Promise((resolve) => setImmediate(resolve)); // so that it travels alone
    }
    expect(await isClosed).toBe(true);
    expect(sent).toBeLessThan(59_999);
  });

  it('frames after the error are ignored', async () => {
    const { port } = await start();
    const client = (await Client.open(port)).send('x').send(LISTEN).send(LISTEN);
    expect(await client.rest()).toEqual([error('bad_message')]);
    expect(await metric(port, 'amesh_relay_events_total{event="listen",outcome="listening"}')).toBe(0);
  });

  it('a flood of pings is cut', async () => {
    const { port } = await start();
    const client = await Client.open(port);
    await client.listen();
    for (let i = 0; i < 1000; i++) client.socket.ping();
    expect(await client.closed).toBe(1006);
    expect(await metric(port, 'amesh_relay_cut_sockets_total')).toBe(1);
  });
});

describe('upgrades', () => {
  it('with an Origin are refused', async () => {
    const { port } = await start();
    for (const origin of ['https://example.com', 'null']) {
      await expect(Client.open(port, { headers: { origin } })).rejects.toThrow('403');
    }
  });

  it('are not compressed', async () => {
    const { port } = await start();
    const client = await Client.open(port, { headers: { 'sec-websocket-extensions': 'permessage-deflate' } });
    expect(client.socket.extensions).toBe('');
  });

  it('on another path, and requests that are not upgrades, get a response', async () => {
    const { port } = await start();
    const at = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).then(({ status }) => status);
    expect(await Promise.all(['/ws', '/', '/health', '/ready', '/metrics'].map(at))).toEqual([
      426, 404, 200, 200, 200,
    ]);
    const { WebSocket } = await import('ws');
    const socket = new WebSocket(`ws://127.0.0.1:${port}/other`);
    const [failure] = await once(socket, 'error');
    expect(String(failure)).toContain('404');
  });

  it.each(['h2c', 'h2c, websocket', 'TLS/1.0', 'web socket'])(
    'to %s are answered like other requests, and the connection ends',
    async (protocol) => {
      const { port } = await start();
      for (const [path, status] of [
        ['/health', '200 OK'],
        ['/ws', '426 Upgrade Required'],
        ['/other', '404 Not Found'],
      ]) {
        const socket = connect(port, '127.0.0.1').setEncoding('utf8');
        // HTTP2-Settings comes from curl --http2, and from the HttpClient of Java in each first request over http.
        socket.write(
          `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n`,
        );
        const answer = await text(socket);
        expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status}\r\n`));
        expect(answer).toMatch(/\r\nconnection: close\r\n/i);
        if (path === '/health') expect(answer.endsWith('\r\n\r\n{"status":"ok"}')).toBe(true);
      }
    },
  );

  it.concurrent.each([
    ['to something else', 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n'],
    ['that are refused', `GET /other HTTP/1.1\r\n${UPGRADE}`],
    ['that never end', 'GET /ws HTTP/1.1\r\n'],
  ])('%s do not hold a connection forever, even if more bytes come', async (_, request) => {
    const { port, relay } = await startRelay();
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.write(request));
    const more = setInterval(() => socket.write('a'), 500);
    socket.on('error', () => {});
    await new Promise((resolve) => socket.resume().on('close', resolve));
    clearInterval(more);
    await relay.close();
  });
});

describe('a slow reader', () => {
  it('is cut, and the other is told', async () => {
    // As much as sockets of the system do not hold.
    const big = { messageBytes: 60_000, messagesPerDirection: 10_000, bytesPerDirection: 1e9 };
    const { port } = await start({ limits: big });
    const [t, c] = await pair(port);
    t.socket.pause();
    const frame = { type: 'msg', body: 'a'.repeat(60_000) };
    const gone = c.next();
    for (let i = 0; i < 2000 && c.socket.readyState === c.socket.OPEN; i++) {
      await new Promise<void>((resolve) => c.socket.send(JSON.stringify(frame), () => resolve()));
    }
    expect(await gone).toEqual({ type: 'peer_gone' });
    expect(await metric(port, 'amesh_relay_cut_sockets_total')).toBe(1);
    t.socket.resume();
    await t.closed;
  });

  it('that does not even read the close is cut', async () => {
    const { port } = await start();
    const client = await Client.open(port);
    client.socket.pause();
    client.send('x');
    await expect.poll(() => metric(port, 'amesh_relay_cut_sockets_total'), { timeout: 10_000 }).toBe(1);
    expect(await metric(port, 'amesh_relay_sockets')).toBe(0);
  });
});

describe('limits', () => {
  const listenFrom = async (port: number, from: string) => {
    const client = await Client.open(port, { from });
    const frame = await client.send(LISTEN).next();
    await client.end();
    return frame?.type === 'error' ? frame.code : frame?.type;
  };

  it('count each source address separately', async () => {
    const { port } = await start();
    for (const from of ['127.0.0.2', '127.0.0.3']) {
      const got = [];
      for (let i = 0; i < 12; i++) got.push(await listenFrom(port, from));
      expect(got, from).toEqual([...Array(10).fill('listening'), 'rate_limited', 'rate_limited']);
    }
  });

  it('twenty sockets of one address', async () => {
    const { port } = await start();
    const clients = await Promise.all(
      Array.from({ length: 20 }, () => Client.open(port, { from: '127.0.0.4' })),
    );
    const more = await Client.open(port, { from: '127.0.0.4' });
    expect(await more.next()).toEqual({ type: 'error', code: 'rate_limited', retryAfter: 60 });
    await (await Client.open(port, { from: '127.0.0.5' })).listen();
    await (clients[0] as Client).end();
    await more.end();
    await expect
      .poll(async () => {
        const again = await Client.open(port, { from: '127.0.0.4' });
        const frame = await again.send(LISTEN).next();
        return frame?.type;
      })
      .toBe('listening');
  });

  it('connections of an address that never become sockets leave space for others', async () => {
    const { port } = await start({ limits: { sockets: 10 } });
    const silent = Array.from({ length: 1200 }, () =>
      connect({ port, host: '127.0.0.1', localAddress: '127.0.0.7' }).on('error', () => {}),
    );
    await Promise.all(
      silent.map(
        (socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve)),
      ),
    );
    const client = await Client.open(port, { from: '127.0.0.8' });
    expect((await client.send(LISTEN).next())?.type).toBe('listening');
    for (const socket of silent) socket.destroy();
  });

  it('forty connections of one address, and any number through a trusted proxy', async () => {
    const { port } = await start({ trustedProxies: ['127.0.0.9'] });
    const served = async (localAddress: string) => {
      const answers = Array.from({ length: 60 }, async () => {
        const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {});
        socket.write('GET /health HTTP/1.1\r\nHost: relay\r\n\r\n');
        const first = await new Promise((resolve) => socket.once('data', resolve).once('close', resolve));
        return { socket, isServed: String(first).startsWith('HTTP/1.1 200') };
      });
      const all = await Promise.all(answers);
      for (const { socket } of all) socket.destroy();
      return all.filter(({ isServed }) => isServed).length;
    };
    expect(await served('127.0.0.10')).toBe(40);
    expect(await served('127.0.0.9')).toBe(60);
  });

  it('ten wrong codes of one address, over new sockets', async () => {
    const { port } = await start();
    const got = [];
    for (let i = 0; i < 11; i++) {
      const client = (await Client.open(port, { from: '127.0.0.6' })).join('999999');
      const frame = await client.next();
      got.push(frame?.type === 'error' && frame.code);
    }
    expect(got).toEqual([...Array(10).fill('code_not_found'), 'rate_limited']);
  });

  it('sockets of all clients together', async () => {
    const { port } = await start({ limits: { sockets: 2 } });
    await Client.open(port);
    await Client.open(port);
    const third = await Client.open(port);
    expect(await third.next()).toEqual(error('capacity'));
    expect(await third.closed).toBe(1000);
  });
});

describe('a forged X-Forwarded-For', () => {
  const tenListens = async (
    port: number,
    headers: (i: number) => Record<string, string>,
    from = '127.0.0.1',
  ) => {
    const got = [];
    for (let i = 0; i < 11; i++) {
      const client = await Client.open(port, { from, headers: headers(i) });
      const frame = await client.send(LISTEN).next();
      got.push(frame?.type);
      await client.end();
    }
    return got;
  };
  const LIMITED = [...Array(10).fill('listening'), 'error'];
  const UNLIMITED = Array(11).fill('listening');

  it('is ignored if no proxy is trusted', async () => {
    const { port } = await start();
    expect(await tenListens(port, (i) => ({ 'x-forwarded-for': `10.0.0.${i}` }))).toEqual(LIMITED);
  });

  it.each([[1], [['127.0.0.1']]])('left of what the trusted proxy wrote is ignored (%j)', async (trusted) => {
    const { port } = await start({ trustedProxies: trusted });
    expect(await tenListens(port, (i) => ({ 'x-forwarded-for': `10.0.0.${i}, 192.0.2.1` }))).toEqual(LIMITED);
    expect(await tenListens(port, (i) => ({ 'x-forwarded-for': `evil, 192.0.2.${i + 2}` }))).toEqual(
      UNLIMITED,
    );
  });

  it('from a client that is not a trusted proxy is ignored', async () => {
    const { port } = await start({ trustedProxies: ['127.0.0.1'] });
    expect(await tenListens(port, (i) => ({ 'x-forwarded-for': `192.0.2.${i}` }), '127.0.0.9')).toEqual(
      LIMITED,
    );
  });

  it('with addresses of one /64 counts as one address', async () => {
    const { port } = await start({ trustedProxies: 1 });
    expect(await tenListens(port, (i) => ({ 'x-forwarded-for': `2001:db8::${i}:1` }))).toEqual(LIMITED);
    expect(await tenListens(port, (i) => ({ 'x-forwarded-for': `2001:db8:0:${i + 1}::1` }))).toEqual(
      UNLIMITED,
    );
  });
});

describe('a shutdown', () => {
  it('that is asked for twice happens once, and both calls wait for it', async () => {
    const { port, relay, log } = await start();
    const client = await Client.open(port);
    client.socket.pause(); // so that it takes its time
    const ended: string[] = [];
    const first = relay.close().then(() => ended.push('first'));
    await relay.close().then(() => ended.push('second'));
    expect(ended).toEqual(['first', 'second']);
    await first;
    expect(log.filter(({ event }) => event === 'stopped')).toHaveLength(1);
    client.socket.resume();
  });

  it('that comes before the start has ended leaves nothing listening', async () => {
    const relay = createRelay();
    const listening = relay.listen(0, '127.0.0.1');
    await relay.close();
    const address = await listening.catch(() => undefined);
    if (address !== undefined) await expect(Client.open(address.port)).rejects.toThrow('ECONNREFUSED');
    await expect(relay.listen(0, '127.0.0.1')).rejects.toThrow(
      'This relay is already listening or has closed.',
    );
  });

  it('a port that is taken: the relay can listen on another one', async () => {
    const { port } = await start();
    const relay = createRelay();
    await expect(relay.listen(port, '127.0.0.1')).rejects.toThrow('EADDRINUSE');
    const other = await relay.listen(0, '127.0.0.1');
    await (await Client.open(other.port)).listen();
    await relay.close();
  });
});

describe('drain', () => {
  it('sends draining to new clients, lets the session end, and closes', async () => {
    const { port, relay } = await start();
    const [t, c] = await pair(port);
    const drained = relay.drain();
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(503);
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
    const late = (await Client.open(port)).send(LISTEN);
    expect(await late.next()).toEqual(error('draining'));
    t.send({ type: 'msg', body: 'still' });
    expect(await c.next()).toEqual({ type: 'msg', body: 'still' });
    c.send({ type: 'bye' });
    await drained;
    await expect(Client.open(port)).rejects.toThrow('ECONNREFUSED');
  });

  it.each([-1, Number.NaN, 'SIGTERM'])('refuses %j as a time', async (graceMs) => {
    const { relay, port } = await start();
    await expect(relay.drain(graceMs as number)).rejects.toThrow(TypeError);
    await (await Client.open(port)).listen();
  });

  it('ends the sessions that are left after the time given', async () => {
    const { port, relay } = await start();
    const [t, c] = await pair(port);
    await relay.drain(100);
    expect(await t.next()).toEqual(error('draining'));
    expect(await c.next()).toEqual(error('draining'));
  });
});
