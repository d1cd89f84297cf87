import { pathToFileURL } from 'node:url';
import v8 from '@vitest/coverage-v8';

/** Of the packages, in which alone coverage counts. */
const SOURCES = ['src/', 'relay/src/'].map((path) => new URL(`../../${path}`, import.meta.url).href);
const isSource = (url: string) =>
  SOURCES.some((source) => url.startsWith(source)) && !/\/(?:dist|node_modules)\/|\.config\.ts$/.test(url);

interface Taken {
  readonly result: readonly { readonly url: string }[];
}

const takeCoverage = v8.takeCoverage as NonNullable<typeof v8.takeCoverage>;

/**
 * Coverage by V8, of the sources alone. Vitest asks about each file that was loaded, and compiles anew for each a pattern of
 * every test file, since those are left out: half a minute at the end of a run.
 */
export default {
  ...v8,
  async takeCoverage(options?: Parameters<typeof takeCoverage>[0]): Promise<Taken> {
    const { result } = (await takeCoverage(options)) as Taken;
    return { result: result.filter(({ url }) => isSource(url)) };
  },
  async getProvider() {
    const isIncluded = (path: string) => isSource(pathToFileURL(path).href);
    return Object.assign(await v8.getProvider(), { isIncluded });
  },
};
