import { join } from 'node:path';
import { expect, it } from 'vitest';
import { toScript } from '../support/child';
import { useKnownTarget } from '../support/use-known-target';

const known = useKnownTarget();
const LINE = /^amesh: Using in-memory nonce store\./gm;

// NODE_ENV is not set, as in a cluster of PM2 or of Nitro.
it.each([
  ['is said by each worker of a cluster, whatever NODE_ENV is', ['2'], 'port ', 2],
  ['is not said by a process of its own', ['0'], 'alone ', 0],
])('a memory for nonces that other processes do not share %s', async (_name, args, ready, count) => {
  const script = await toScript('test/adapters/servers/cluster.ts');
  const server = script.start([join(known.callerDir, '../target'), ...args]);
  try {
    const port = await server.line(ready);
    const url = `http://127.0.0.1:${port}/`;
    await known.know(new URL(url).host);
    const { headers } = await known.callerWith().sign({ url, method: 'GET' });
    const answers = new Map<string, number>();
    // Each worker takes a connection in turn; a replay within one is refused.
    for (let turn = 0; turn < 3; turn++) {
      const response = await fetch(url, { headers: { ...Object.fromEntries(headers), connection: 'close' } });
      answers.set(await response.text(), response.status);
    }
    expect([...answers].filter(([, status]) => status === 200)).toHaveLength(Math.max(count, 1));
    expect(server.stderr().match(LINE) ?? []).toHaveLength(count);
  } finally {
    server.kill('SIGKILL');
    await server.ended;
    script.remove();
  }
});
