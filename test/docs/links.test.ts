import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { headingsOf, pages, proseOf, ROOT, readPage } from './blocks';

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

describe('links of a package', () => {
  const { files } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { files: string[] };
  /** Whether the SDK's package has this file, or a file in this folder. */
  const isPacked = (path: string): boolean =>
    files.some((entry) => {
      const pattern = entry.replaceAll('.', '\\.').replaceAll('*', '[^/]*');
      return (
        new RegExp(`^${pattern}(?:/|$)`).test(path) || entry.startsWith(`${path}/`) || isFolderOf(entry, path)
      );
    });
  const isFolderOf = (entry: string, path: string): boolean =>
    path.split('/').length < entry.split('/').length &&
    path
      .split('/')
      .every((part, i) => new RegExp(`^${entry.split('/')[i]?.replaceAll('*', '[^/]*')}$`).test(part));

  // CONTRIBUTING.md speaks of a clone.
  const own = links.filter(
    ({ page, target }) => page !== 'CONTRIBUTING.md' && !/^(?:https?:|#)/.test(target),
  );
  it.each(own)('the SDK has $target of $page', ({ page, target }) => {
    expect(isPacked(page), page).toBe(true);
    expect(isPacked(normalize(join(dirname(page), target.split('#')[0] as string)).replace(/\/$/, ''))).toBe(
      true,
    );
  });

  it.each(['src/cli/README.md', 'relay/README.md'])('%s needs no other file', (page) => {
    const targets = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
    expect(targets.filter((target) => !target.startsWith('#'))).toEqual([]);
    const named = [...readFileSync(`${ROOT}${page}`, 'utf8').matchAll(/`(docs\/[\w-]+\.md)`/g)];
    expect(named.length).toBeGreaterThan(0);
    for (const [, path = ''] of named) expect(existsSync(join(ROOT, path)), path).toBe(true);
  });
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

it('docs/README.md leads to every page of docs/', () => {
  const targets = links.filter(({ page }) => page === 'docs/README.md').map(({ target }) => target);
  const inDocs = readdirSync(`${ROOT}docs`).filter((path) => path.endsWith('.md') && path !== 'README.md');
  expect(inDocs.filter((path) => !targets.includes(path))).toEqual([]);
});

it('docs/decisions/README.md lists every decision by its title', () => {
  const decisions = readdirSync(`${ROOT}docs/decisions`).filter((path) => /^\d{3}-.*\.md$/.test(path));
  const lines = decisions.sort().map((path) => {
    const [, number = '', title = ''] = /^# (\d{3}): (.+)$/m.exec(readPage(`docs/decisions/${path}`)) ?? [];
    return `- [${number}](${path}): ${title}`;
  });
  const listed = readPage('docs/decisions/README.md').match(/^- .+$/gm) ?? [];
  expect(listed.toSorted(), 'docs/decisions/README.md').toEqual(lines);
});

describe('source files that a page names', () => {
  const folders = 'src|relay|test|scripts|examples|docs|skills|bench|demo';
  const named = pages
    .filter((page) => page !== 'CHANGELOG.md') // speaks of older versions, too
    .flatMap((page) =>
      [...proseOf(page).matchAll(new RegExp(`\`((?:${folders})/[\\w./-]*)\``, 'g'))].map(([, path = '']) => ({
        page,
        path,
      })),
    );

  it.each(named)('$page → $path', ({ path }) => {
    expect(existsSync(join(ROOT, path)), `${path} exists`).toBe(true);
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

  it.each(pages)('%s names no path of one machine', (page) => {
    expect(proseOf(page)).not.toMatch(/\/(?:work|root|home\/\w+|Users)\//);
  });
});
