import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import type { Channel } from '../../src/pairing/ceremony/channel';
import type { Controller } from '../../src/pairing/ceremony/controller';
import type * as introduction from '../../src/pairing/ceremony/introduction';
import type * as keyExchange from '../../src/pairing/ceremony/key-exchange';
import type * as schedule from '../../src/pairing/ceremony/key-schedule';
import type * as suite from '../../src/pairing/ceremony/suite';
import type { Target } from '../../src/pairing/ceremony/target';

/** All of amesh-pair/1: the two machines, and the parts with which somebody else speaks to them. */
export interface Pairing
  extends Pick<typeof keyExchange, 'readM2' | 'readM3' | 'writeM1' | 'writeM2' | 'writeM3'>,
    Pick<typeof introduction, 'writeIntroduction'>,
    Pick<typeof schedule, 'commitment' | 'deriveKeys'>,
    Pick<typeof suite, 'newEphemeral'> {
  readonly Channel: typeof Channel;
  readonly Controller: typeof Controller;
  readonly Target: typeof Target;
}

/** What stands in a file of src/pairing, and what is to stand there instead. */
export type Changes = Readonly<Record<string, readonly (readonly [find: string, replacement: string])[]>>;

const FOLDER = resolve(import.meta.dirname, '../../src/pairing/ceremony');
const MODULES = ['channel', 'controller', 'key-exchange', 'introduction', 'key-schedule', 'suite', 'target'];

/**
 * The ceremony as it is, but for a few changes of its text, each of which must find its place exactly once: so a
 * weaker ceremony can be attacked that differs from the shipped one in nothing else, and the shipped one needs no
 * option that weakens it.
 */
export async function buildPairing(changes: Changes = {}): Promise<Pairing> {
  const left = new Set(Object.keys(changes));
  const { outputFiles } = await build({
    stdin: { contents: MODULES.map((name) => `export * from './${name}';`).join('\n'), resolveDir: FOLDER },
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'error',
    plugins: [
      {
        name: 'changes',
        setup({ onLoad }) {
          onLoad({ filter: /[\\/]src[\\/]pairing[\\/]ceremony[\\/][^\\/]+\.ts$/ }, async ({ path }) => {
            let contents = await readFile(path, 'utf8');
            left.delete(basename(path));
            for (const [find, replacement] of changes[basename(path)] ?? []) {
              const parts = contents.split(find);
              if (parts.length !== 2) throw new Error(`${parts.length - 1} times in ${path}: ${find}`);
              contents = parts.join(replacement);
            }
            return { contents, loader: 'ts' };
          });
        },
      },
    ],
  });
  if (left.size > 0) throw new Error(`There is no ${[...left].join(', ')}.`);
  const folder = await mkdtemp(join(tmpdir(), 'amesh-pairing-'));
  try {
    const path = join(folder, 'pairing.mjs');
    await writeFile(path, (outputFiles[0] as { contents: Uint8Array }).contents);
    return await import(/* @vite-ignore */ pathToFileURL(path).href);
  } finally {
    await rm(folder, { recursive: true, maxRetries: 20 });
  }
}
