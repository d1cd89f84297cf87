import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { drawArchitecture, modulesOf, stepsOf } from '../../scripts/draw-architecture.mjs';
import { MODULES } from '../support/modules';
import { proseOf, ROOT, readPage } from './blocks';

const page = readPage('docs/architecture.md');
const picture = readFileSync(`${ROOT}docs/images/architecture.svg`, 'utf8');

it('has the picture of its own table and lists', () => {
  expect(picture, 'run node scripts/draw-architecture.mjs').toBe(drawArchitecture(page));
  expect(proseOf('docs/architecture.md')).toContain('](images/architecture.svg)');
});

it('has a picture in plain SVG, which every site shows', () => {
  expect(picture).not.toMatch(/<script|<foreignObject|<image|@import|@font-face|url\(|href=/);
});

it('names the modules and imports that the sources are held to', () => {
  expect(modulesOf(page)).toEqual(MODULES);
});

const HEADINGS = ['A request', 'A revocation', 'A provision token', 'A grant', 'A rotation', 'The relay'];

it.each(HEADINGS)('numbers the steps of "%s" from 1 on', (heading) => {
  const numbers = stepsOf(page, heading)
    .flat()
    .map(({ number }) => number);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
});

/** Each list item or paragraph that names files, with the functions that it names. */
const passages = page.split(/\n(?:\n|(?=\d+\. |\| ))/).flatMap((text) => {
  const files = [...text.matchAll(/`((?:src|relay)\/[\w./-]+\.ts)`/g)].map(([, file = '']) => file);
  const names = [...text.matchAll(/`(?:\w+\.)*(#?\w+)\(\)`/g)].map(([, name = '']) => name);
  return files.length === 0 ? [] : names.map((name) => ({ name, files }));
});

it('has walks that name functions', () => expect(passages.length).toBeGreaterThan(40));

/** Where a function or method begins. A comment, an import or a call does not count. */
const definitionOf = (name: string) =>
  new RegExp(
    `function\\*? ${name}\\b|^ *(?:(?:async|static|get|export|const|readonly) )*${name}(?:<.*>)?(?:\\(.*\\{$|\\($|: (?:async )?\\(|: async function| = )`,
    'm',
  );

it.each(passages)('$name() is defined in one of $files', ({ name, files }) => {
  const sources = files.map((file) => readFileSync(`${ROOT}${file}`, 'utf8'));
  expect(sources.some((source) => definitionOf(name).test(source))).toBe(true);
});
