import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { isFull } from './test/support/full.ts';
import { isLong, leftOut } from './test/support/long-files.ts';
import tsconfig from './tsconfig.json' with { type: 'json' };

const source = (path: string) => new URL(path, import.meta.url).pathname;

// One table for types and tests: the paths of tsconfig.json. The longest name first, since aliases match prefixes.
const alias = Object.entries(tsconfig.compilerOptions.paths)
  .sort(([a], [b]) => b.length - a.length)
  .map(([find, [path]]) => ({ find, replacement: source(path as string) }));

const ALL_TESTS = readdirSync(source('test'), { recursive: true, encoding: 'utf8' })
  .map((path) => `test/${path.replaceAll('\\', '/')}`)
  .filter((path) => path.endsWith('.test.ts'))
  .sort();

const isNamed = process.argv.slice(2).some((word) => word !== 'run' && !word.startsWith('-'));
/** Whether to run the short files alone. Somebody who names a file or folder gets all of it. */
const isShort = !isFull && !isNamed;
const TESTS = isShort ? ALL_TESTS.filter((path) => !isLong(path)) : ALL_TESTS;

/**
 * Tests that leave their process as they found it: each group shares its processes, and loads each module once in each. A file
 * belongs to the first group that names it. Those of `serving` start relays and servers. The HTTP server of the relay puts its
 * own `Response` over Node's.
 */
const GROUPS: Readonly<Record<string, readonly RegExp[]>> = {
  sharing: [
    /^test\/(?:core|interop)\//,
    /^test\/(?:code|imports)\./,
    /^test\/build\/(?:bundles|repository)\./,
    /^test\/docs\/(?:agents|api|architecture|commands|errors|limits|links|readme|tables)\./,
    /^test\/pairing\/(?:ceremony|relay-url|turns|vectors)\./,
    /^test\/relay\/(?:client-address|cluster|fair-share|frames|instance-message)\./,
    /^test\/support\/(?!bundle)/, // which loads a module anew
    /^test\/(?:answers|proxy)\/lambda\./, // which need the Response of Node
    /^test\/trust\/(?:changes|concurrency|identity|list-store|scopes|scopes-model|trust-line)\./,
    /^test\/trust\/format\//,
  ],
  serving: [
    /^test\/adapters\/(?!stream\.)/, // which looks at its own memory
    /^test\/(?:environment|instance)\./,
    /^test\/answers\//,
    /^test\/build\/release\./,
    /^test\/cli\//,
    /^test\/client\//,
    /^test\/contract\//,
    /^test\/delegates\//,
    /^test\/docs\//,
    /^test\/http-clients\/recipes\./,
    /^test\/keys\/(?!keychain|secrets-in-memory)/, // whose library keeps the first session bus of its process
    /^test\/mcp\//,
    /^test\/network\//,
    /^test\/proxy\//,
    /^test\/relay\/(?!siege)/, // which measures what nothing else may slow down
    /^test\/rotation\//,
    /^test\/runtimes\//,
    /^test\/testing\//,
    /^test\/storage\/(?!nonce-store|shared-list)/, // of which one loads modules anew, and one measures, too
    /^test\/workers\//,
    /^test\/attacks\//,
    /^test\/bootstrap\//,
    /^test\/pairing\/(?!drop)/, // which replaces a module
    /^test\/trust\/(?!folder-safety)/, // which looks for a line that a process logs once
  ],
};
const groupOf = (path: string) =>
  Object.keys(GROUPS).find((name) => GROUPS[name]?.some((some) => some.test(path)));

/** Files whose tests run side by side, each waiting for a Redis of its own. */
const REDIS = /^test\/redis\/(?!deadline)/;

/** Files that measure a time that is short. They run when all others are done; each mostly waits. */
const MEASURING = /^test\/redis\/deadline/;

const isElsewhere = (path: string) => groupOf(path) !== undefined || REDIS.test(path) || MEASURING.test(path);

/** Files that mostly wait, for a Redis or a process, the longest first. */
const WAITING = [
  /redis\/(?:fleet|comeback)\./,
  /(?:storage\/shared-list|trust\/kill)\./,
  /redis\/(?:topologies|nonce-store|attacks)\./,
  /(?:workers\/(?:workers|take-over)|storage\/attacks)\./,
  /(?:attacks\/tampered-trust|bootstrap\/grants|relay\/redis-failures|proxy\/nginx)\./,
  /cli\/(?:command-line|shared-store|doctor|invite)\./,
  /(?:relay\/(?:process|sockets)|workers\/nonces)\./,
];

/** Has files that wait begin early, each beside one that computes, so that no core is idle and none is fought for. */
class Mixed extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    // What shares processes stays together.
    const partOf = ({ project }: TestSpecification) => (project.config.isolate ? 'isolated' : project.name);
    return [...new Set(sorted.map(partOf))].flatMap((part) => {
      const own = sorted.filter((file) => partOf(file) === part);
      const waiting = WAITING.flatMap((some) => own.filter(({ moduleId }) => some.test(moduleId)));
      const others = own.filter((file) => !waiting.includes(file));
      return [...waiting.flatMap((file) => [file, ...others.splice(0, 1)]), ...others];
    });
  }
}

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      // Lists of files. By `exclude` the one of a command line would count for nothing, and with patterns that begin with `!`
      // coverage leaves out every source.
      {
        extends: true,
        test: {
          name: 'alone',
          include: TESTS.filter((path) => !isElsewhere(path)),
        },
      },
      {
        extends: true,
        test: {
          name: 'measuring',
          include: TESTS.filter((path) => MEASURING.test(path)),
          maxConcurrency: 10,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: 'redis', include: TESTS.filter((path) => REDIS.test(path)), maxConcurrency: 10 },
      },
      ...Object.keys(GROUPS).map((name) => {
        const include = TESTS.filter((path) => groupOf(path) === name);
        return { extends: true as const, test: { name, include, isolate: false } };
      }),
    ],
    setupFiles: ['test/support/no-late-lines.ts'],
    globalSetup: isNamed ? [] : ['test/support/build-first.ts'],
    // For a machine with much else to do; what has to be quick is measured where it is tested.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 30_000 } },
    // What was made of a module is the same in each project, in each run and on each Node.
    experimental: { fsModuleCache: true },
    silent: 'passed-only',
    reporters: isShort ? ['default', { onTestRunEnd: () => console.log(leftOut(ALL_TESTS)) }] : ['default'],
    // Many tests wait for real processes and sockets: more at once than there are cores. With still more the processes
    // that tests start have too little of them.
    maxWorkers: availableParallelism() + 2,
    sequence: { sequencer: Mixed },
    coverage: {
      provider: 'custom',
      customProviderModule: 'test/support/coverage.ts',
      include: ['src/**/*.ts', 'relay/src/**/*.ts'],
      exclude: ['**/dist/**', '**/node_modules/**', '**/build.config.ts'],
      // Pages for people take longer than the rest of a report.
      reporter: process.env.CI ? ['text-summary', 'json-summary'] : ['text-summary', 'html', 'json-summary'],
      // For `npm run coverage`, which runs everything. What only a process of its own runs is not counted.
      thresholds: {
        'src/core/**': { lines: 95 },
        'src/trust/**': { lines: 95 },
        'src/bootstrap/**': { lines: 95 },
        'src/pairing/**': { lines: 95 },
        'relay/src/room/**': { lines: 95 },
        'src/keys/**': { lines: 95 },
        'src/machine/**': { lines: 85 },
        'src/adapters/**': { lines: 80 },
        'src/storage/**': { lines: 80 },
        'relay/src/net/**': { lines: 95 },
        'relay/src/store/**': { lines: 85 },
        'relay/src/wire/**': { lines: 95 },
      },
    },
  },
});
