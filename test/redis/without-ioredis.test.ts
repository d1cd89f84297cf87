import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { ensureBuilt } from '../support/built';

const ROOT = resolve(import.meta.dirname, '../..');

/** Prints what comes of each expression, or what it throws. */
const SCRIPT = `
import { createAmesh } from '@authmesh/sdk';
import { RedisNonceStore } from '@authmesh/sdk/redis';
const url = 'redis://127.0.0.1:1';
const dir = process.cwd();
const tries = {
  verify: () => createAmesh({ dir, env: { REDIS_URL: url } }).verify(),
  verifier: () => createAmesh({ dir, env: { REDIS_URL: url } }).verifier(),
  store: () => new RedisNonceStore(url),
  cluster: () => new RedisNonceStore({ cluster: [url] }),
  list: () => createAmesh({ dir, env: { AMESH_STORE_URL: url } }).verify(),
  fetch: () => createAmesh({ dir, env: { AMESH_STORE_URL: url } }).fetch('http://127.0.0.1:1/'),
};
const answers = {};
for (const [name, run] of Object.entries(tries)) {
  try {
    await run();
    answers[name] = 'started';
  } catch (error) {
    answers[name] = error.code + ': ' + error.message;
  }
}
console.log(JSON.stringify(answers));
process.exit();
`;

describe('the built package, installed', () => {
  let folder: string;
  beforeAll(async () => {
    await ensureBuilt();
    folder = await mkdtemp(join(tmpdir(), 'amesh-packages-'));
    const modules = join(folder, 'node_modules');
    for (const path of ['package.json', 'dist']) {
      await cp(join(ROOT, path), join(modules, '@authmesh/sdk', path), { recursive: true });
    }
    for (const name of Object.keys(manifest.dependencies)) {
      await mkdir(dirname(join(modules, name)), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), join(modules, name));
    }
    await writeFile(join(folder, 'start.mjs'), SCRIPT);
  }, 240_000);
  afterAll(() => rm(folder, { recursive: true, maxRetries: 20 }));

  const start = () =>
    new Promise<Record<string, string>>((done, fail) => {
      execFile(process.execPath, ['start.mjs'], { cwd: folder, env: {} }, (error, out, err) =>
        error === null ? done(JSON.parse(out)) : fail(new Error(err)),
      );
    });

  it('without ioredis: nothing that needs Redis starts, and each process says the line that installs it', async () => {
    const why = 'ioredis is not installed. Run: npm install ioredis';
    const nonces = `nonce_store_unavailable: REDIS_URL is set, but ${why}`;
    const list = `allow_list_unavailable: The store of the allow list failed: ${why}`;
    const store = `nonce_store_unavailable: ${why}`;
    expect(await start()).toEqual({
      ...{ verify: nonces, verifier: nonces, store, cluster: store, list, fetch: list },
    });
  });

  it('with an ioredis of another major version: the same', async () => {
    const ioredis = join(folder, 'node_modules/ioredis');
    await mkdir(ioredis);
    await writeFile(join(ioredis, 'package.json'), '{"name":"ioredis","version":"4.28.5","main":"index.js"}');
    await writeFile(join(ioredis, 'index.js'), 'module.exports = class Redis {};');
    const answers = await start();
    expect(new Set(Object.values(answers).map((answer) => answer.replace(/^.*?(?=ioredis)/, '')))).toEqual(
      new Set(['ioredis 4.28.5 is installed, but amesh needs 5.4 or 6. Run: npm install ioredis@6']),
    );
    await rm(ioredis, { recursive: true });
  });

  it('with ioredis next to it: starts', async () => {
    await symlink(join(ROOT, 'node_modules/ioredis'), join(folder, 'node_modules/ioredis'));
    const { fetch: _, ...answers } = await start();
    expect(new Set(Object.values(answers))).toEqual(new Set(['started']));
    await rm(join(folder, 'node_modules/ioredis'));
  });
});
