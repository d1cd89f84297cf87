import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { readPage } from '../docs/blocks';

/** Without what a formatter decides. */
const plain = (text: string) => text.replace(/\s+/g, ' ');

it.each(['axios', 'got', 'node-http'])(
  'docs/http-clients.md shows the recipe that the contract tests: %s',
  (name) => {
    const [, ...parts] = readFileSync(new URL(`${name}.ts`, import.meta.url), 'utf8').split(/\n\n/);
    for (const part of parts) expect(plain(readPage('docs/http-clients.md'))).toContain(plain(part).trim());
  },
);

it('docs/frameworks.md shows the middleware that the contract tests', () => {
  const path = new URL('../contract/apps/koa-verify.ts', import.meta.url);
  const [, ...parts] = readFileSync(path, 'utf8').split(/\n\n/);
  for (const part of parts) expect(plain(readPage('docs/frameworks.md'))).toContain(plain(part).trim());
});
