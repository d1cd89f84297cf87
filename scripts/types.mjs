// Type-checks the sources, and what users would write against each framework, with the compiler of TypeScript 7: it takes a
// tenth of the time of version 5, which the builders of declarations and of the API reference still need.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const projects = [
  'tsconfig.json',
  'test/types/tsconfig.json',
  'test/types/tsconfig.express4.json',
  'test/types/tsconfig.fastify4.json',
  'test/types/tsconfig.scopes.json',
];
for (const project of projects) {
  const compiler = join(root, 'node_modules/typescript7/bin/tsc');
  const { status } = spawnSync(process.execPath, [compiler, '-p', project], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
