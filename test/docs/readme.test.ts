import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { drawPairing, screensOf } from '../../scripts/draw-pairing.mjs';
import { blocksOf, headingsOf, proseOf, ROOT, readPage } from './blocks';

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

it('then shows a server and a client of at most ten lines each', () => {
  const [server, client] = blocksOf('README.md');
  expect([server?.kind, client?.kind]).toEqual(['server', 'client']);
  for (const block of [server, client]) expect(block?.text.trim().split('\n').length).toBeLessThanOrEqual(10);
});

it('shows in its picture what both terminals print, and the snippets prove it', () => {
  const [target = '', controller = ''] = screensOf(readPage('README.md'));
  const picture = readFileSync(`${ROOT}docs/images/pairing.svg`, 'utf8');
  expect(picture, 'run node scripts/draw-pairing.mjs').toBe(drawPairing(target, controller));
  expect(proseOf('README.md')).toContain('](docs/images/pairing.svg)');
});

it('has a picture in plain SVG, which every site shows', () => {
  const picture = readFileSync(`${ROOT}docs/images/pairing.svg`, 'utf8');
  expect(picture).not.toMatch(/<script|<foreignObject|<image|@import|@font-face|url\(|xlink:|href=/);
  expect(picture.match(/https?:[^\s<']+/g)?.every((url) => /w3\.org|localhost/.test(url))).toBe(true);
  expect(Number(/<svg [^>]*\bwidth="(\d+)"/.exec(picture)?.[1])).toBeLessThanOrEqual(900);
});

it('says in two lines what to run in a clone', () => {
  expect(blocksOf('README.md').map(({ text }) => text)).toContain('npm install && npm run demo\nnpm test\n');
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['demo', 'test']));
});

it('names exactly the runtime dependencies, each with a reason', () => {
  const rows = [...section('Runtime dependencies').matchAll(/^\| `([^`]+)` \| (.+) \|$/gm)];
  expect(rows.map(([, name]) => name)).toEqual(Object.keys(dependencies));
  for (const [, , reason = ''] of rows) expect(reason).toMatch(/^\S.{20,160}$/);
});

it('shows nothing that does not exist yet', () => {
  const coming = /tpm2?\b|ssh-agent|keychain|enclave/i;
  for (const { text } of blocksOf('README.md')) expect(text).not.toMatch(coming);
  expect(headingsOf('README.md').map(({ text }) => text)).toContain('Planned');
});
