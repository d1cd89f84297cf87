import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Remote } from '../../src/cli/src/mcp/remote';
import { McpSession } from '../../src/cli/src/mcp/session';
import { initialize, initialized, result } from './server';

const stream = (text: string) => new Response(text, { headers: { 'content-type': 'text/event-stream' } });

const failures: readonly [name: string, fail: () => Response][] = [
  [
    'cannot be reached',
    () => {
      throw new TypeError('fetch failed');
    },
  ],
  ['is starting', () => new Response(null, { status: 503 })],
  ['ends the stream at once', () => stream('')],
];

/** When a session asks for the stream of the server, in milliseconds since it began. */
async function asks(answer: (count: number) => Response, { ms = 1250 } = {}): Promise<number[]> {
  const [times, startMs, controller] = [[] as number[], performance.now(), new AbortController()];
  const remote = {
    sessionId: undefined,
    protocolVersion: undefined,
    ask: async (method: string, { body }: { body?: string }) => {
      if (method === 'POST' && body?.includes('initialize",') === true) {
        const agreed = { protocolVersion: '2025-06-18', capabilities: {} };
        return { response: Response.json(result('begin', agreed)), refusal: undefined };
      }
      if (method === 'POST') return { response: new Response(null, { status: 202 }), refusal: undefined };
      times.push(performance.now() - startMs);
      return { response: answer(times.length), refusal: undefined };
    },
  };
  const events = { deliver: async () => {}, tell: () => {} };
  const session = new McpSession(remote as unknown as Remote, events, { signal: controller.signal });
  const { id, method } = initialize;
  await session.request({ kind: 'request', id, method, text: JSON.stringify(initialize) });
  const { method: done } = initialized;
  await session.send({
    kind: 'notification',
    method: done,
    cancels: undefined,
    text: JSON.stringify(initialized),
  });
  await sleep(ms);
  controller.abort();
  return times;
}

describe('a server that has asked for another attempt at once', () => {
  it.each(failures)('is asked less and less often while it %s', async (_, fail) => {
    const times = await asks((count) => (count === 1 ? stream('retry: 0\nid: 1\ndata:\n\n') : fail()));
    const waits = times.slice(1).map((at, i) => at - (times[i] as number));
    // 100 ms after the first one, then 200, 400 and 800.
    expect(waits.length).toBeGreaterThan(1);
    expect(waits.length).toBeLessThan(5);
    for (const [i, wait] of waits.entries()) expect(wait).toBeGreaterThan(95 * 2 ** i);
  });

  it('is asked as often as it says while it sends events', async () => {
    const times = await asks((count) => stream(`retry: 200\nid: ${count}\ndata:\n\n`));
    expect(times.length).toBeGreaterThan(4);
    expect(times.length).toBeLessThan(8);
  });
});
