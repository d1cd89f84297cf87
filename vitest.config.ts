import { defineConfig } from 'vitest/config';
import tsconfig from './tsconfig.json' with { type: 'json' };

const source = (path: string) => new URL(path, import.meta.url).pathname;

// One table for types and tests: the paths of tsconfig.json. The longest name first, since aliases match prefixes.
const alias = Object.entries(tsconfig.compilerOptions.paths)
  .sort(([a], [b]) => b.length - a.length)
  .map(([find, [path]]) => ({ find, replacement: source(path as string) }));

export default defineConfig({
  resolve: { alias },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    // For a machine with much else to do; what has to be quick is measured where it is tested.
    hookTimeout: 60_000,
    expect: { poll: { timeout: 15_000 } },
    silent: 'passed-only',
    // Many tests wait for real processes and sockets: more at once than there are cores. With still more the processes
    // that tests start have too little of them.
    maxWorkers: 3,
    coverage: {
      include: ['src/**/*.ts', 'relay/src/**/*.ts'],
      exclude: ['**/dist/**', '**/node_modules/**', '**/build.config.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
    },
  },
});
