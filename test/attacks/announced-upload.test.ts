import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Child, type Script, toScript } from '../support/child';
import { times } from '../support/full';

const MEGABYTE = 1_048_576;
const ANNOUNCED = 1024 * MEGABYTE;
const AT_ONCE = 50;
/** Before the memory is looked at for the first time, and after. */
const [BEFORE, COUNT] = times([3000, 2000], [3000, 10_000]) as [number, number];

interface State {
  readonly rssBytes: number;
  readonly connections: number;
  readonly refused: Record<string, number>;
  readonly handled: number;
}

let script: Script;
let server: Child;
let port: number;

beforeAll(async () => {
  script = await toScript('test/attacks/upload-server.ts');
  // A small young generation, so that garbage which waits for its collector does not look like growth.
  server = script.start([], { env: { NODE_OPTIONS: '--max-semi-space-size=2' } });
  port = Number(await server.line('port '));
});
afterAll(async () => {
  server.process.stdin.end();
  await server.ended;
  script.remove();
});

let asked = 0;
async function state(): Promise<State> {
  const label = `state${asked++}`;
  server.tell(label);
  return JSON.parse(await server.line(`${label} `));
}

const some = Buffer.alloc(65_536, 'x');

/** Announces a gigabyte, sends some of it, and stays until it has its answer; one in a hundred stays on. */
function announce(index: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    socket.on('error', reject);
    socket.on('data', (chunk) => {
      received += chunk;
      if (!received.endsWith('{"error":"unauthorized"}')) return;
      if (index % 100 !== 0) socket.destroy();
      resolve(received);
    });
    socket.on('close', () => resolve(received));
    socket.write(`POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${ANNOUNCED}\r\n\r\n`);
    socket.write(some);
  });
}

async function attack(count: number): Promise<void> {
  let next = 0;
  const statuses = new Map<string, number>();
  const one = async () => {
    while (next < count) {
      const status = (await announce(next++)).slice(0, 12);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  expect([...statuses]).toEqual([['HTTP/1.1 401', count]]);
}

it(`memory exhaustion: ${COUNT} unsigned requests that announce 1 GiB each`, {
  timeout: 300_000,
}, async () => {
  await attack(BEFORE);
  await sleep(1500);
  const before = await state();
  await attack(COUNT);
  await expect.poll(async () => (await state()).connections, { timeout: 10_000 }).toBe(0);
  const after = await state();
  expect(after.refused).toEqual({ missing_header: BEFORE + COUNT });
  expect(after.handled).toBe(0);
  // In CI they announce 10 TiB and send 625 MiB.
  expect((after.rssBytes - before.rssBytes) / MEGABYTE).toBeLessThan(32);
  expect(server.lines.filter((line) => line.startsWith('unhandled'))).toEqual([]);
  expect(server.stderr()).toBe('');
});
