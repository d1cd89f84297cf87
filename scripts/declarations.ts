// The declarations of a package, in as much memory as a small machine has. rollup-plugin-dts makes them from sources
// with one TypeScript program after the other (2.8 GB for the SDK). From declarations it needs none: TypeScript writes
// one for each source first, in one program.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'rollup';
import ts from 'typescript';
import type { BuildConfig, BuildHooks } from 'unbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * Options for unbuild, which then bundles the declarations of its entries instead of their sources. What only runs the
 * packages sets BUILD_DECLARATIONS=no.
 */
export function declarations(): Pick<BuildConfig, 'declaration' | 'failOnWarn' | 'hooks'> {
  const isWanted = process.env.BUILD_DECLARATIONS !== 'no';
  if (isWanted) return { declaration: 'node16', hooks: fromDeclarations() };
  return { declaration: false, failOnWarn: false }; // it warns of the declarations that package.json names
}

function fromDeclarations(): Partial<BuildHooks> {
  let folder: string | undefined;
  return {
    'rollup:dts:options'(_context, options) {
      const entries = Object.entries(options.input as Record<string, string>);
      folder = mkdtempSync(join(tmpdir(), 'amesh-types-'));
      const declarationOf = writeDeclarations(
        entries.map(([, path]) => path),
        folder,
      );
      options.input = Object.fromEntries(entries.map(([name, path]) => [name, declarationOf(path)]));
      // The others would turn declarations into JavaScript.
      options.plugins = [...options.plugins.filter((plugin) => plugin.name === 'dts'), oneForEachSource];
    },
    'rollup:done'() {
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Published declarations are named like their sources, so that a reader who follows a type finds it. */
const oneForEachSource: Plugin = {
  name: 'one-for-each-source',
  outputOptions: (options) => ({
    ...options,
    preserveModules: true,
    entryFileNames: ({ name }) => `${name.replace(/\.d$/, '')}.d.mts`,
  }),
};

/**
 * One declaration for each source that these reach. `npm run types` checks them; this only writes.
 *
 * @returns which one is of a source
 */
function writeDeclarations(entries: readonly string[], folder: string): (entry: string) => string {
  const sources = entries.map((path) => `${path.replace(/\.ts$/, '')}.ts`);
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: sources }, ts.sys, root);
  const program = ts.createProgram(sources, {
    ...options,
    noEmit: false,
    allowImportingTsExtensions: false,
    noCheck: true,
    declaration: true,
    emitDeclarationOnly: true,
    rootDir: root,
    outDir: folder,
  });
  const { diagnostics } = program.emit();
  if (diagnostics.length > 0) {
    throw new Error(ts.formatDiagnostics(diagnostics, ts.createCompilerHost(options)));
  }
  return (path) => join(folder, `${relative(root, path).replace(/\.ts$/, '')}.d.ts`);
}
