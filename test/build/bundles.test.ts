import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { ensureBuilt } from '../support/built';
import { requireRuntime, startServer } from '../support/runtime-server';

const ROOT = new URL('../../', import.meta.url).pathname;

/** A program of the built packages as a bundler makes it for Workers; frameworks and stores stay outside. */
async function bundle(program: string, external: string[] = ['hono', 'unstorage', 'unstorage/*']) {
  const { outputFiles, metafile } = await build({
    stdin: { contents: program, resolveDir: ROOT },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    conditions: ['workerd', 'worker'],
    external: [...external, 'node:*', 'cloudflare:*'],
    tsconfigRaw: '{}', // the built packages, and not the sources that the paths of tsconfig.json lead to
    logLevel: 'silent',
  });
  const { contents } = outputFiles[0] as (typeof outputFiles)[0];
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  const inputs = Object.keys(metafile.inputs);
  return {
    text: new TextDecoder().decode(contents),
    gzip: gzipSync(contents, { level: 9 }).length,
    imports,
    inputs,
  };
}

const specifiers = ['@authmesh/sdk', '@authmesh/sdk/core', '@authmesh/sdk/hono', '@authmesh/sdk/workers'];
/**
 * Bytes behind gzip, with WebCrypto and without noble. What outgrows its budget has to have a reason: the texts of codes
 * count, too. Scopes took 450 bytes of a verifier, and the part of WebCrypto that knows private keys made room for them.
 * Working keys and delegates take 2.6 kB: the strict reading of a statement, its checks and their texts, the check that a
 * point is on the curve, low s, and the cache without which each request would cost two signature checks. To sign answers
 * takes 1.4 kB, and to check them 3 kB of a client.
 */
const budgets: Record<string, { program: string; bytes: number }> = {
  'a verifier': { program: `export { createVerifier } from '@authmesh/sdk/core';`, bytes: 20_992 },
  // What a client tells of a refused delegate took 0.2 kB; to repeat a request whose working key was cut, as much.
  // To follow a target to its next key takes 0.9 kB: the strict reading of a statement of two keys, and its low s.
  // To sign with another key for a target that does not know the next one yet, and to tell it that, took 0.3 kB; to sign a request
  // once more with the same nonce, 0.1 kB, and to claim that for both keys, 0.1 kB of each verifier. To remember the host of the last
  // request took 0.02 kB. To keep the response of an unproven body from being collected took 0.1 kB, and to read a form of form-data
  // no faster than it is sent, and to survive what it does afterwards, 0.05 kB. To keep others from a stream until it is sent took 0.1 kB.
  // To say which refusals of a key nobody has proven, and which requests the next key has had accepted, took 0.05 kB, and to gather
  // calls on Node 0.06 kB. To accept the charset that a proxy adds took 0.15 kB.
  'a client': { program: `export { createClient } from '@authmesh/sdk/core';`, bytes: 19_056 },
  // With CODES, which holds the texts of every module and is the same in every runtime. Working keys, and the part of WebCrypto
  // that makes them, took 1.6 kB. The errors of agents, keychains and external signers, and fromDerSignature(), took 0.9 kB, delegations as much.
  // A working key that is never text took 0.1 kB, and the keys of the targets behind a delegation as much.
  // The codes of rotations, and what a client sends and hears of them, took 0.4 kB.
  // To leave the body of a Request alone until it is needed took 0.02 kB.
  // To follow a target back, and to say in a member which answers are not proven since a key is in other hands, took 0.2 kB.
  // To name the type of a text on Bun took 0.01 kB.
  'all of the core': { program: `export * from '@authmesh/sdk/core';`, bytes: 39_600 },
  // These two read the list in pages: its head, the search in a page, and its order against what was seen take 4.2 kB.
  // To read a mounted answer key, open its private key and warn of its end takes 0.4 kB; to warn of the ends of callers and to
  // sign a Response, 0.7 kB; not to make one on Node for that, 0.1 kB; the fields that hold the state of a request, 0.1 kB. To load what
  // decodes a body with the first one that is coded took 0.1 kB; to see that Node has dropped the line of a length, as much on Node.
  // To keep a response of fetch that is passed on from being collected took 0.03 kB; a request of its own around a streamed body on
  // Node, 0.15 kB. A connection that outlives the working key that has opened it took 0.03 kB, the states of views without a request
  // 0.04 kB, and to gather requests on Node 0.03 kB. To find the header lines that a signature covers, and to leave out all others on
  // Node, took 0.3 kB; the host that Next.js hides, 0.02 kB; to find out when a device was revoked, 0.03 kB of the list.
  // To keep the type of a text on Bun takes 0.13 kB, and 0.05 kB more where Hono would copy the response. To say that a statement may
  // be from before its device was paired again took 0.01 kB.
  'the Hono middleware': { program: `export { verify } from '@authmesh/sdk/hono';`, bytes: 39_472 },
  'a protected Worker': {
    program: `export { AmeshNonces, withAmesh } from '@authmesh/sdk/workers';`,
    bytes: 34_896,
  },
};

describe('bundled for Workers', () => {
  beforeAll(() => ensureBuilt(), 180_000);

  it.each(specifiers)('%s needs nothing of Node', async (specifier) => {
    const { text, imports, inputs } = await bundle(`export * from '${specifier}';`);
    expect(imports.filter((path) => !/^(?:hono|unstorage)(?:\/|$)/.test(path))).toEqual([]);
    expect(text).not.toMatch(/["']node:/);
    expect(inputs.filter((path) => path.includes('@noble'))).toEqual([]);
  });

  it('nor does it with Hono and unstorage', async () => {
    const program = specifiers.map((specifier, i) => `export * as m${i} from '${specifier}';`).join('\n');
    const { imports } = await bundle(program, []);
    expect(imports).toEqual([]);
  });

  it('loads in workerd, where the instance of a machine says that there are no files', async () => {
    const runtime = await requireRuntime('workerd');
    if (runtime === null) return;
    const worker = await startServer(runtime, 'test/build/worker.ts', { isBuilt: true });
    const response = await fetch(`http://127.0.0.1:${worker.port}/`);
    expect(await response.json()).toEqual({
      fetch: 'no_file_system',
      verify: 'no_file_system',
      identity: 'no_file_system',
      createAmesh: 'no_file_system',
      exports: ['function', 'function', 'function', 'function'],
    });
    await worker.close();
  });

  it('unstorage may be missing if the list is not in KV', async () => {
    const { dependencies, peerDependenciesMeta } = JSON.parse(await readFile(`${ROOT}package.json`, 'utf8'));
    expect(Object.keys(dependencies)).not.toContain('unstorage');
    expect(peerDependenciesMeta.unstorage).toEqual({ optional: true });
  });

  it.each(Object.entries(budgets))('%s stays within its size', async (_what, { program, bytes }) => {
    const { gzip } = await bundle(program);
    expect(gzip).toBeLessThanOrEqual(bytes);
  });
});

describe('the testing kit', () => {
  const entries = Object.keys(manifest.exports).filter((path) => !path.endsWith('.json'));

  /** The files of the kit that some entries reach on a runtime. */
  async function reached(from: readonly string[], condition: string): Promise<string[]> {
    const contents = from
      .map((path, i) => `export * as m${i} from '@authmesh/sdk${path.slice(1)}';`)
      .join('\n');
    const { metafile } = await build({
      stdin: { contents, resolveDir: ROOT },
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform: 'neutral',
      conditions: [condition],
      external: [
        'node:*',
        'cloudflare:*',
        ...Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }),
      ],
      tsconfigRaw: '{}',
      logLevel: 'silent',
    });
    return Object.keys(metafile.inputs).filter((path) => /(?:^|\/)testing[./]/.test(path));
  }

  beforeAll(() => ensureBuilt(), 180_000);

  it.each(['node', 'workerd'])('is reached from its own entry alone, on %s', async (condition) => {
    expect(await reached(['./testing'], condition)).not.toEqual([]);
    const others = entries.filter((path) => path !== './testing');
    expect(others.length).toBeGreaterThan(10);
    expect(await reached(others, condition)).toEqual([]);
  });
});
