import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { ensureBuilt } from '../support/built';

const ROOT = resolve(import.meta.dirname, '../..');

/** Tells whether ioredis is loaded when the line that makes the server's check returns. */
const SCRIPT = `
import { createRequire } from 'node:module';
import { createAmesh } from '@authmesh/sdk';
const isLoaded = () => Object.keys(createRequire(import.meta.url).cache).some((path) => /[\\\\/]ioredis[\\\\/]/.test(path));
const [variable, dir] = process.argv.slice(1);
const before = isLoaded();
createAmesh({ dir, env: { [variable]: 'redis://127.0.0.1:1' } }).verify();
console.log(JSON.stringify([before, isLoaded()]));
process.exit();
`;

beforeAll(() => ensureBuilt(), 240_000);

// To load it takes longer than a request should wait, so it must not happen after the server listens.
it.each(['AMESH_STORE_URL', 'REDIS_URL'])('%s loads ioredis before verify() returns', async (variable) => {
  const dir = await mkdtemp(join(tmpdir(), 'amesh-load-'));
  try {
    const args = ['--input-type=module', '-e', SCRIPT, variable, dir];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env: {} });
    expect(JSON.parse(stdout)).toEqual([false, true]);
  } finally {
    await rm(dir, { recursive: true, maxRetries: 20 });
  }
});
