import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { ensureBuilt } from '../support/built';

beforeAll(() => ensureBuilt(), 180_000);

it('generates keys through many garbage collections, in which the generator of Node 20 can deadlock', async () => {
  const program = `
    const { nodeCrypto } = await import('@authmesh/sdk/crypto/node');
    const texts = new Set();
    for (let i = 0; i < 20_000; i++) texts.add(nodeCrypto.generatePrivateKey().d);
    console.log(texts.size, [...texts].every((text) => text.length === 43));
  `;
  const flags = ['--max-semi-space-size=1', '--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, flags, {
    cwd: import.meta.dirname,
    timeout: 60_000,
  });
  expect(stdout).toBe('20000 true\n');
});
