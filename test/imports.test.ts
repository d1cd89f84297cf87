import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MODULES } from './support/modules';

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

/** What package.json's `imports` choose between, as the file with all of it. */
const CHOSEN: Readonly<Record<string, string>> = {
  '#crypto': 'src/core/crypto/provider',

  '#hints': 'src/core/hints/hints',
  '#gather': 'src/core/gather/gather',
};

const SDK = sources('src').filter((path) => !path.startsWith('src/cli/'));

/** The modules of the command line, in the same way. The files in none of them are the program itself. */
const CLI_MODULES: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  words: ['errors'],
  'command-line': ['errors', 'words'],
  machine: ['errors', 'words'],
  failures: ['errors', 'words', 'command-line', 'machine'],
  relay: ['errors', 'words', 'machine', 'failures'],
  terminal: ['errors', 'words', 'command-line', 'failures'],
  mcp: ['words'],
  'allow-list': ['errors', 'words', 'command-line', 'machine', 'terminal'],
  doctor: ['errors', 'words', 'machine', 'failures', 'relay', 'allow-list'],
  proxy: ['errors', 'words'],
  curl: ['errors'],
  commands: [
    'errors',
    'words',
    'command-line',
    'machine',
    'failures',
    'relay',
    'terminal',
    'allow-list',
    'doctor',
    'proxy',
    'curl',
    'mcp',
  ],
};

const CLI = sources('src/cli/src');
const cliModuleOf = (path: string) => /^src\/cli\/src\/([^/]+)\//.exec(path)?.[1];

/** A cycle among files or among folders, as the way around it; undefined where there is none. */
function cycleOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const walk = (node: string, way: readonly string[]): string[] | undefined => {
    if (way.includes(node)) return [...way.slice(way.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const next of edges.get(node) ?? []) {
      const cycle = walk(next, [...way, node]);
      if (cycle !== undefined) return cycle;
    }
    done.add(node);
    return undefined;
  };
  for (const node of edges.keys()) {
    const cycle = walk(node, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

/** The imports among some sources. `nameOf` makes files of paths, or folders. */
function edgesAmong(paths: readonly string[], nameOf: (path: string) => string) {
  const edges = new Map<string, Set<string>>();
  for (const path of paths) {
    const from = nameOf(path);
    const targets = edges.get(from) ?? new Set();
    for (const name of imports(path)) {
      const target = `${CHOSEN[name] ?? name}.ts`;
      if (paths.includes(target) && nameOf(target) !== from) targets.add(nameOf(target));
    }
    edges.set(from, targets);
  }
  return edges;
}

/** The folders with more than 15 files directly in one folder, and how many they have. */
function crowded(paths: readonly string[]): [string, number][] {
  const counts = new Map<string, number>();
  for (const path of paths) counts.set(folderOf(path), (counts.get(folderOf(path)) ?? 0) + 1);
  return [...counts].filter(([, count]) => count > 15);
}

describe('the modules of the SDK', () => {
  it('are all listed here', () => {
    expect([...new Set(SDK.map((path) => path.split('/')[1]))].sort()).toEqual(Object.keys(MODULES).sort());
  });

  it.each(SDK)('%s imports only the modules below its own', (path) => {
    const own = path.split('/')[1] as string;
    for (const name of imports(path)) {
      const module = (CHOSEN[name] ?? name).split('/')[1] as string;
      if (!(CHOSEN[name] ?? name).startsWith('src/')) continue;
      expect([own, ...(MODULES[own] ?? [])], `${path} imports ${name}`).toContain(module);
    }
  });

  it('have no cycle among their files', () => {
    expect(cycleOf(edgesAmong(SDK, (path) => path))).toBeUndefined();
  });

  it('have no cycle among their folders', () => {
    expect(cycleOf(edgesAmong(SDK, folderOf))).toBeUndefined();
  });

  it('finds a cycle', () => {
    const edges = new Map([
      ['a', new Set(['b'])],
      ['b', new Set(['c'])],
      ['c', new Set(['b'])],
    ]);
    expect(cycleOf(edges)).toEqual(['b', 'c', 'b']);
  });

  it('have at most 15 files directly in one folder, except for the folder of the commands', () => {
    expect(crowded(SDK)).toEqual([]);
  });

  it.each(sources('src/entries'))('%s only exports what others have made', (path) => {
    const text = readFileSync(join(root, path), 'utf8').replace(/\/\*\*.*?\*\//gs, '');
    expect(text.replace(/export (?:(?:type )?\{[^}]*\}|\*) from '[^']+';/g, '').trim()).toBe('');
  });
});

describe('the modules of the command line', () => {
  it('are all listed here', () => {
    const modules = new Set(CLI.map(cliModuleOf).filter((module) => module !== undefined));
    expect([...modules].sort()).toEqual(Object.keys(CLI_MODULES).sort());
  });

  it.each(CLI.filter((path) => cliModuleOf(path) !== undefined))(
    '%s imports only the modules below its own',
    (path) => {
      const own = cliModuleOf(path) as string;
      for (const name of imports(path)) {
        if (!name.startsWith('src/cli/src/')) continue;
        expect([own, ...(CLI_MODULES[own] ?? [])], `${path} imports ${name}`).toContain(cliModuleOf(name));
      }
    },
  );

  it('have no cycle among their files', () => {
    expect(cycleOf(edgesAmong(CLI, (path) => path))).toBeUndefined();
  });

  it('have no cycle among their folders', () => {
    expect(cycleOf(edgesAmong(CLI, folderOf))).toBeUndefined();
  });

  it('have at most 15 files directly in one folder, except for the folder of the commands', () => {
    const counts = new Map<string, number>();
    for (const path of CLI) counts.set(folderOf(path), (counts.get(folderOf(path)) ?? 0) + 1);
    counts.delete('src/cli/src/commands');
    expect([...counts].filter(([, count]) => count > 15)).toEqual([]);
  });
});

describe('who may import whom', () => {
  it('finds any imports', () => {
    expect(imports('src/core/verify/verify.ts')).toContain('src/core/errors/fault');
    expect(imports('src/core/verify/verify.ts')).toContain('#crypto');
    expect(imports('src/storage/files/file-store.ts')).toContain('node:fs/promises');
  });

  it.each(sources('src/core'))('%s imports only noble and the core', (path) => {
    for (const name of imports(path)) {
      const isOwn = name.startsWith('src/core/') || name.startsWith('#');
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
        name === '#gather' ||
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

describe('the modules of the relay', () => {
  const RELAY = sources('relay/src');
  /** Each module, and the modules that it may import besides itself. The files beside the modules may import all of them. */
  const RELAY_MODULES: Readonly<Record<string, readonly string[]>> = {
    limits: [],
    wire: [],
    room: ['limits', 'wire'],
    net: ['limits', 'wire', 'room'],
    store: ['limits', 'wire', 'room'],
  };
  const inPure = ['limits', 'wire', 'room'].flatMap((module) => sources(`relay/src/${module}`));

  it.each(Object.entries(RELAY_MODULES))(
    '%s imports itself and %j, and no other module',
    (module, others) => {
      const allowed = [module, ...others].map((name) => `relay/src/${name}/`);
      for (const path of sources(`relay/src/${module}`)) {
        for (const name of imports(path).filter((name) => name.startsWith('relay/'))) {
          const isAllowed = allowed.some((folder) => name.startsWith(folder));
          expect(isAllowed, `${path} imports ${name}`).toBe(true);
        }
      }
    },
  );

  it.each(inPure)('%s has no sockets, no timers and no clock', (path) => {
    const text = readFileSync(join(root, path), 'utf8');
    const others = imports(path).filter((name) => !name.startsWith('relay/src/'));
    if (others.length > 0) expect(text).toContain("import { isIP } from 'node:net';"); // which only reads a text
    expect(others.filter((name) => name !== 'node:net')).toEqual([]);
    expect(text).not.toMatch(/\b(?:set(?:Timeout|Interval|Immediate)|performance|Date|process)\b[.(]/);
  });

  it('are all listed here', () => {
    const modules = RELAY.map((path) => path.split('/').slice(2, -1).join('/')).filter(
      (module) => module !== '',
    );
    expect([...new Set(modules)].sort()).toEqual(Object.keys(RELAY_MODULES).sort());
  });

  it('have no cycle among their files', () => {
    expect(cycleOf(edgesAmong(RELAY, (path) => path))).toBeUndefined();
  });

  it('have no cycle among their folders', () => {
    const inModules = RELAY.filter((path) => folderOf(path) !== 'relay/src');
    expect(cycleOf(edgesAmong(inModules, folderOf))).toBeUndefined();
  });

  it('have at most 15 files directly in one folder', () => expect(crowded(RELAY)).toEqual([]));
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
