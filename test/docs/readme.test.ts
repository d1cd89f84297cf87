import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { blocksOf, headingsOf, proseOf, ROOT } from './blocks';

const { dependencies, scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));

/** The prose below a heading of the README, up to the next of its level. */
function section(title: string): string {
  const [, text = ''] = proseOf('README.md').split(`\n## ${title}\n`);
  return text.split('\n## ')[0] as string;
}

it('opens with one sentence that says what amesh is', () => {
  const [, first = ''] = proseOf('README.md').split('\n\n');
  expect(first.match(/[.!?](?:\s|$)/g)).toHaveLength(1);
});

it('then says in two lines what to run', () => {
  expect(blocksOf('README.md')[0]?.text).toBe('npm install && npm run demo\nnpm test\n');
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['demo', 'test']));
});

it('names exactly the runtime dependencies, each with a reason', () => {
  const rows = [...section('Runtime dependencies').matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)];
  expect(rows.map(([, name]) => name)).toEqual(Object.keys(dependencies));
  for (const [, , reason = ''] of rows) expect(reason).toMatch(/^\S.{20,160}$/);
});

it('shows nothing that is still coming', () => {
  const coming = /tpm2?\b|ssh-agent|keychain|enclave/i;
  for (const { text } of blocksOf('README.md')) expect(text).not.toMatch(coming);
  expect(headingsOf('README.md').map(({ text }) => text)).toContain('Coming');
});
