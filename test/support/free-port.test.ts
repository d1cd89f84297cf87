import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { freePort } from './free-port';

it('gives each port once, and none on which something listens', async () => {
  const first = await freePort();
  const next = createServer().listen(first + 1, '127.0.0.1');
  await once(next, 'listening');
  const pair = await freePort(2);
  const last = await freePort();
  next.close();
  expect(new Set([first, first + 1, pair, pair + 1, last]).size).toBe(5);
  for (const port of [first, pair, last]) {
    expect(port).toBeGreaterThanOrEqual(10_000);
    expect(port).toBeLessThan(32_768);
  }
});
