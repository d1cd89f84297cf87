import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { bundleOf } from './bundle';

const ROOT = resolve(import.meta.dirname, '../..');

/** As another test file would load it, which knows only what is on the disk. */
async function inAnotherProcess(): Promise<typeof bundleOf> {
  vi.resetModules();
  return (await import('./bundle')).bundleOf;
}

it('a bundle is made again if a file that it is made from has changed', async () => {
  const folder = join(ROOT, 'node_modules/.cache/amesh-bundles-test');
  mkdirSync(folder, { recursive: true });
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const [entry, imported] = [join(folder, 'entry.mjs'), join(folder, 'imported.mjs')];
  writeFileSync(entry, "export { it } from './imported.mjs';");
  writeFileSync(imported, "export const it = 'before';");
  expect(await bundleOf(entry, {})).toContain('before');
  expect(await (await inAnotherProcess())(entry, {})).toContain('before');
  writeFileSync(imported, "export const it = 'behind';");
  expect(await (await inAnotherProcess())(entry, {})).toContain('behind');
  rmSync(imported);
  await expect((await inAnotherProcess())(entry, {})).rejects.toThrow('Could not resolve');
});

it('a bundle depends on its options', async () => {
  const entry = 'test/support/full.ts';
  expect(await bundleOf(entry, { minify: true })).not.toBe(await bundleOf(entry, {}));
});
