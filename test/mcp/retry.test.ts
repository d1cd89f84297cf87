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

/** How long a session waits before each time but the first that it asks for the stream of the server, in milliseconds. */
async function waitsOf(answer: (count: number) => Response, count: number): Promise<number[]> {
  const [times, controller] = [[] as number[], new AbortController()];
  const remote = {
    sessionId: undefined,
    protocolVersion: undefined,
    ask: async (method: string, { body }: { body?: string }) => {
      if (method === 'POST' && body?.includes('initialize",') === true) {
        const agreed = { protocolVersion: '2025-06-18', capabilities: {} };
        return { response: Response.json(result('begin', agreed)), refusal: undefined };
      }
      if (method === 'POST') return { response: new Response(null, { status: 202 }), refusal: undefined };
      times.push(performance.now());
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
  await expect.poll(() => times.length).toBeGreaterThan(count);
  controller.abort();
  return times.slice(1, count + 1).map((at, i) => at - (times[i] as number));
}

describe('a server that has asked for another attempt at once', () => {
  it.each(failures)('is asked less and less often while it %s', async (_, fail) => {
    const waits = await waitsOf((count) => (count === 1 ? stream('retry: 0\nid: 1\ndata:\n\n') : fail()), 4);
    // 100 ms after the first one, then 200, 400 and 800.
    for (const [i, wait] of waits.entries()) expect(wait).toBeGreaterThan(95 * 2 ** i);
  });

  it('is asked as often as it says while it sends events', async () => {
    const waits = await waitsOf((count) => stream(`retry: 200\nid: ${count}\ndata:\n\n`), 6);
    for (const wait of waits) expect(wait).toBeGreaterThan(190);
    // If each wait were twice as long as the last one, the last two would be 3.2 and 6.4 s, even on an idle machine.
    expect(Math.min(...waits.slice(-2))).toBeLessThan(3000);
  });
});
