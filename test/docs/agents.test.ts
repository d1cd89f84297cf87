import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { pages, proseOf, ROOT, readPage } from './blocks';

const SKILL = 'skills/authmesh/SKILL.md';
const { files } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { files: string[] };

const linksOf = (page: string) =>
  [...proseOf(page).matchAll(/\]\(([^)\s#]+)/g)].map(([, target = '']) =>
    normalize(join(dirname(page), target)),
  );

describe('what coding agents read', () => {
  it.each(['llms.txt', SKILL])('%s is checked as a document, and is in the package', (page) => {
    expect(pages).toContain(page);
    expect(files).toContain(page.split('/')[0]);
  });

  it('llms.txt leads to every page of docs/', () => {
    const docs = readdirSync(`${ROOT}docs`).filter((path) => path.endsWith('.md') && path !== 'README.md');
    expect(
      linksOf('llms.txt')
        .filter((path) => path.startsWith('docs/'))
        .toSorted(),
    ).toEqual(docs.map((path) => `docs/${path}`).toSorted());
  });

  it('the skill has a name, which is its folder, and a description of at most 1024 characters', () => {
    const [, front = ''] = /^---\n([\s\S]*?)\n---\n/.exec(readPage(SKILL)) ?? [];
    const { name, description, ...rest } = parse(front) as Record<string, string>;
    expect(name).toBe('authmesh');
    expect(description?.length).toBeLessThanOrEqual(1024);
    expect(rest).toEqual({});
  });
});
