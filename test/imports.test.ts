import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Every source file below a folder, as paths from the root. */
function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !/node_modules|dist/.test(entry.parentPath),
    )
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !path.endsWith('build.config.ts'));
}

/** What a file imports: relative ones as paths from the root, others as they are. */
function imports(path: string): string[] {
  const text = readFileSync(join(root, path), 'utf8');
  return [...text.matchAll(/(?:^|\s)(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, specifier = '']) =>
    specifier.startsWith('.') ? relative(root, resolve(root, dirname(path), specifier)) : specifier,
  );
}

const folderOf = (path: string) => path.replace(/\/[^/]*$/, '');

describe('who may import whom', () => {
  it('finds the imports at all', () => {
    expect(imports('src/core/verify/verify.ts')).toContain('src/core/errors/fault');
    expect(imports('src/core/verify/verify.ts')).toContain('#crypto');
    expect(imports('src/storage/files/file-store.ts')).toContain('node:fs/promises');
  });

  it.each(sources('src/core'))('%s imports only noble, structured-headers and the core', (path) => {
    for (const name of imports(path)) {
      const isOwn = name.startsWith('src/core/') || name.startsWith('#') || name === 'structured-headers';
      const isCrypto =
        folderOf(path) === 'src/core/crypto' && (name === 'node:crypto' || name.startsWith('@noble/'));
      expect(isOwn || isCrypto, `${path} imports ${name}`).toBe(true);
    }
  });

  it.each(sources('src/adapters'))('%s imports no store and no other adapter', (path) => {
    const own = folderOf(path);
    for (const name of imports(path)) {
      const isAllowed =
        name.startsWith('src/core/') ||
        name.startsWith('src/adapters/node/') ||
        name.startsWith(`${own}/`) ||
        name.split('/')[0] === basename(own) || // the framework itself
        name === '#crypto' ||
        name.startsWith('node:');
      expect(isAllowed, `${path} imports ${name}`).toBe(true);
    }
  });

  it.each([...sources('src/cli'), ...sources('relay')])('%s imports published specifiers only', (path) => {
    const own = path.startsWith('relay') ? 'relay/' : 'src/cli/';
    for (const name of imports(path)) {
      expect(!name.startsWith('src/') || name.startsWith(own), `${path} imports ${name}`).toBe(true);
    }
  });

  it.each(sources('src').filter((path) => !path.startsWith('src/cli/')))(
    '%s imports neither the CLI nor the relay',
    (path) => {
      for (const name of imports(path))
        expect(name).not.toMatch(/^(?:src\/cli|relay|@authmesh\/(?:cli|relay))/);
    },
  );
});

describe("Yarn's Plug'n'Play", () => {
  // Its file handles throw "Method not implemented" for these.
  it.each([...sources('src'), ...sources('relay')])(
    '%s calls no method that its file handles lack',
    (path) => {
      const text = readFileSync(join(root, path), 'utf8');
      expect(text).not.toMatch(/\.(?:sync|datasync|utimes|readv)\(/);
    },
  );
});
