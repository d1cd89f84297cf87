import { type BuildOptions, build } from 'esbuild';

const made = new Map<string, Promise<Uint8Array>>();

/**
 * A script of test/** as one ES module, with all that it imports. The same one is bundled once in a process: starting a
 * server takes less time than bundling it.
 *
 * @param options of esbuild, as JSON can tell them
 */
export function bundleOf(entry: string, options: BuildOptions): Promise<Uint8Array> {
  const key = JSON.stringify([entry, options]);
  const before = made.get(key);
  if (before !== undefined) return before;
  const bundle = build({
    ...options,
    entryPoints: [entry],
    bundle: true,
    format: 'esm',
    write: false,
    logLevel: 'error',
  }).then(({ outputFiles }) => outputFiles?.[0]?.contents as Uint8Array);
  made.set(key, bundle);
  return bundle;
}
