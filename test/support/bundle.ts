import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type BuildOptions, build } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '../..');
const CACHE = join(ROOT, 'node_modules/.cache/amesh-bundles');
/** What decides, beside the modules themselves, which modules are found. */
const RULES = ['package.json', 'tsconfig.json', 'node_modules/.package-lock.json'];

/** A bundle, and the hash of each file that it was made of, by its path from the root. */
interface Made {
  readonly inputs: Readonly<Record<string, string | null>>;
  readonly text: string;
}

const made = new Map<string, Promise<string>>();

/**
 * A script of test/** as one ES module, with all that it imports. To bundle it takes more time than to start it, so that it is
 * done once for all test files, and again where a file that it was made of has changed.
 *
 * @param options of esbuild, as JSON can tell them
 */
export function bundleOf(entry: string, options: BuildOptions): Promise<string> {
  const key = createHash('sha256')
    .update(JSON.stringify([entry, options]))
    .digest('hex');
  const before = made.get(key);
  if (before !== undefined) return before;
  const bundle = read(key) ?? make(key, entry, options);
  made.set(key, bundle);
  return bundle;
}

function read(key: string): Promise<string> | undefined {
  try {
    const { inputs, text }: Made = JSON.parse(readFileSync(join(CACHE, key), 'utf8'));
    const isCurrent = Object.entries(inputs).every(([path, hash]) => hashOf(path) === hash);
    return isCurrent ? Promise.resolve(text) : undefined;
  } catch {
    return undefined; // nobody has made it yet
  }
}

async function make(key: string, entry: string, options: BuildOptions): Promise<string> {
  const { outputFiles, metafile } = await build({
    ...options,
    absWorkingDir: ROOT,
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    write: false,
    metafile: true,
    logLevel: 'error',
  });
  const text = outputFiles[0]?.text ?? '';
  const paths = [...Object.keys(metafile.inputs).filter((path) => !path.startsWith('(disabled)')), ...RULES];
  const inputs = Object.fromEntries(paths.map((path) => [path, hashOf(path)]));
  mkdirSync(CACHE, { recursive: true });
  const mine = join(CACHE, `${key}.${process.pid}`);
  writeFileSync(mine, JSON.stringify({ inputs, text } satisfies Made));
  renameSync(mine, join(CACHE, key));
  return text;
}

/** null where there is no such file. */
function hashOf(path: string): string | null {
  try {
    return createHash('sha256')
      .update(readFileSync(join(ROOT, path)))
      .digest('hex');
  } catch {
    return null;
  }
}
