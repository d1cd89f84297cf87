import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startRelay, type TestRelay } from './client';

let running: TestRelay;
beforeEach(async () => {
  running = await startRelay();
});
afterEach(() => running.relay.close());

const open = () => connect(running.port, '127.0.0.1').on('error', () => {});
const health = async () => (await fetch(`http://127.0.0.1:${running.port}/health`)).status;

const PLAIN = 'GET /health HTTP/1.1\r\nHost: a\r\n\r\n';
const METRICS = 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n';
const BODY = 'POST /health HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';
const H2C = 'GET /health HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n';
/** Node answers these itself. */
const EXPECTING = 'GET /health HTTP/1.1\r\nHost: a\r\nExpect: something\r\n\r\n';
const WEBSOCKET = `GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`;

/** A frame with a text of less than 126 bytes, masked with zeros. */
const frameOf = (content: string) =>
  Buffer.from(`\x81${String.fromCharCode(0x80 | content.length)}\0\0\0\0${content}`, 'latin1');
const LISTEN = frameOf('{"type":"listen","v":1}');

const statusesIn = (answers: string) =>
  Array.from(answers.matchAll(/HTTP\/1\.1 (\d{3}) /g), ([, status]) => Number(status));

describe('an upgrade in one packet with other requests', () => {
  it.each<[string, readonly string[], readonly number[]]>([
    ['after one', [PLAIN, H2C], [200, 200]],
    ['after several', [PLAIN, METRICS, PLAIN, H2C], [200, 200, 200, 200]],
    ['before one', [H2C, PLAIN], [200]],
    ['between two', [PLAIN, H2C, PLAIN], [200, 200]],
    ['before other upgrades', [PLAIN, H2C, H2C, WEBSOCKET], [200, 200]],
    ['after one with a body', [BODY, H2C], [404, 200]],
    ['after one that Node answers', [EXPECTING, H2C], [417, 200]],
    ['after several that Node answers', [PLAIN, EXPECTING, EXPECTING, H2C], [200, 417, 417, 200]],
    ['after the last one that a connection may send', [...Array(100).fill(PLAIN), H2C], Array(101).fill(200)],
    [
      'after more than a connection may send',
      [...Array(101).fill(PLAIN), H2C],
      [...Array(100).fill(200), 503, 200],
    ],
    ['to a WebSocket that is refused', [PLAIN, PLAIN, WEBSOCKET.replace('/ws', '/other')], [200, 200, 404]],
  ])('is answered in its turn, and the connection ends: %s', async (_, requests, statuses) => {
    const socket = open().setEncoding('utf8');
    socket.write(requests.join(''));
    const answers = await text(socket);
    expect(statusesIn(answers)).toEqual(statuses);
    expect(answers.split('HTTP/1.1 ').at(-1)).toMatch(/\r\nconnection: close\r\n/i);
    expect(await health()).toBe(200);
  });

  it('to a WebSocket waits for the responses before it, and then works', async () => {
    for (const before of [
      [PLAIN],
      [PLAIN, METRICS, PLAIN],
      [EXPECTING, EXPECTING],
      Array(99).fill(METRICS),
    ]) {
      const socket = open().setEncoding('latin1');
      socket.write(Buffer.concat([Buffer.from([...before, WEBSOCKET].join('')), LISTEN]));
      let received = '';
      for await (const chunk of socket) {
        received += chunk;
        if (received.includes('"code"')) break;
      }
      const [statuses, rest] = [statusesIn(received), received.split('\r\n\r\n').at(-1)];
      expect(statuses.at(-1)).toBe(101);
      expect(statuses).toHaveLength(before.length + 1);
      expect(rest).toMatch(/^\x81.\{"type":"listening"/);
    }
  });

  it('ends nothing but its connection if that is reset at any moment', async () => {
    for (const last of [H2C, WEBSOCKET, WEBSOCKET.replace('/ws', '/other')])
      for (const before of [[], [PLAIN], [PLAIN, METRICS, PLAIN, EXPECTING]])
        for (const turns of [0, 1, 2, 3, 5]) {
          const socket = open();
          await new Promise<void>((resolve) => socket.write([...before, last].join(''), () => resolve()));
          for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
          socket.resetAndDestroy();
        }
    expect(await health()).toBe(200);
  });
});
