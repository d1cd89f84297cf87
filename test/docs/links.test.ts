import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { headingsOf, pages, proseOf, ROOT } from './blocks';

interface Link {
  readonly page: string;
  readonly target: string;
}

const links: Link[] = pages.flatMap((page) =>
  [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => ({ page, target })),
);

describe('links', () => {
  it.each(links.filter(({ target }) => !/^https?:/.test(target)))('$page → $target', ({ page, target }) => {
    const [path = '', anchor] = target.split('#', 2);
    const file = path === '' ? page : normalize(join(dirname(page), path));
    expect(existsSync(join(ROOT, file)), `${file} exists`).toBe(true);
    if (anchor !== undefined) expect(headingsOf(file).map((heading) => heading.anchor)).toContain(anchor);
  });

  it.each(links.filter(({ target }) => /^https?:/.test(target)))(
    '$page → $target over https',
    ({ target }) => {
      expect(new URL(target).protocol).toBe('https:');
    },
  );
});

describe('references from the sources', () => {
  const references = readdirSync(`${ROOT}src`, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !/(?:^|\/)(?:dist|node_modules)\//.test(path))
    .flatMap((path) => {
      const source = readFileSync(`${ROOT}src/${path}`, 'utf8');
      return [...source.matchAll(/(docs\/[\w/-]+\.md)(?:, "([^"]+)")?/g)].map(([, page = '', heading]) => ({
        path,
        page,
        heading,
      }));
    });

  it.each(references)('$path → $page $heading', ({ page, heading }) => {
    expect(existsSync(join(ROOT, page)), `${page} exists`).toBe(true);
    if (heading !== undefined) expect(headingsOf(page).map(({ text }) => text)).toContain(heading);
  });
});

describe('pages', () => {
  it.each(pages)('%s has one title, and no level of headings is skipped', (page) => {
    const levels = headingsOf(page).map(({ level }) => level);
    expect(levels[0]).toBe(1);
    expect(levels.filter((level) => level === 1)).toHaveLength(1);
    levels.forEach((level, index) => {
      expect(level - (levels[index - 1] ?? 0)).toBeLessThanOrEqual(1);
    });
  });

  it.each(pages)('%s speaks of no path of a machine', (page) => {
    expect(proseOf(page)).not.toMatch(/\/(?:work|root|home\/\w+|Users)\//);
  });
});
