import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { RuntimeServer } from '../support/runtime-server';
import { startWorker } from '../support/worker';
import { runtime } from './workerd';

const [long, short] = ['a'.repeat(22), 'b'.repeat(22)] as const;

/** Claims a nonce at the Durable Object itself. */
async function claim(worker: RuntimeServer, nonce: string, keepMs: number): Promise<string> {
  const query = new URLSearchParams({ nonce, keepUntilMs: String(Date.now() + keepMs) });
  const response = await fetch(`http://127.0.0.1:${worker.port}/claim?${query}`, { method: 'POST' });
  return response.text();
}

describe.skipIf(runtime === null)('the Durable Object of nonces', () => {
  it('lets one of many concurrent claims win', async () => {
    const worker = await startWorker({}, { nonces: 'in memory' });
    onTestFinished(() => worker.close());
    const answers = await Promise.all(Array.from({ length: 100 }, () => claim(worker, long, 60_000)));
    expect(answers.filter((answer) => answer === 'new')).toHaveLength(1);
    expect(answers.filter((answer) => answer === 'known')).toHaveLength(99);
    expect(await claim(worker, 'too short', 60_000)).toBe('malformed');
    expect(await claim(worker, short, Number.NaN)).toBe('malformed');
  });

  it('remembers over a restart', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'amesh-nonces-'));
    onTestFinished(() => rm(folder, { recursive: true, maxRetries: 20 }));
    const first = await startWorker({}, { nonces: { folder } });
    onTestFinished(() => first.close());
    expect(await claim(first, long, 3_600_000)).toBe('new');
    await first.close();
    const second = await startWorker({}, { nonces: { folder } });
    onTestFinished(() => second.close());
    expect(await claim(second, long, 3_600_000)).toBe('known');
  });

  it('forgets what has ended by an alarm, and nothing else', async () => {
    const worker = await startWorker({}, { nonces: 'in memory' });
    onTestFinished(() => worker.close());
    expect(await claim(worker, short, 1)).toBe('new');
    expect(await claim(worker, long, 60_000)).toBe('new');
    expect(await claim(worker, short, 1)).toBe('known'); // over, but no alarm has been yet
    // There is at most one in ten seconds.
    await vi.waitUntil(async () => (await claim(worker, short, 1)) === 'new', {
      timeout: 40_000,
      interval: 500,
    });
    expect(await claim(worker, long, 60_000)).toBe('known');
  });
});
