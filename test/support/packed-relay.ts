import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureBuilt } from './built';

const ROOT = new URL('../../', import.meta.url).pathname;
const execute = promisify(execFile);

/** A folder into which the packed relay can be installed, as a user would. */
export interface PackedRelay {
  readonly dir: string;
  /** What stands for `@authmesh/relay` on a command line. */
  readonly tarball: string;
  /** `npm install` of these packages. */
  install(...packages: string[]): Promise<void>;
  remove(): Promise<void>;
}

export async function packRelay(): Promise<PackedRelay> {
  await ensureBuilt();
  const work = await mkdtemp(join(tmpdir(), 'amesh-relay-'));
  // Without the script that builds what is stale: other tests use what lies there.
  const pack = ['pack', '--ignore-scripts', '--workspace', 'relay', '--pack-destination', work];
  await execute('npm', pack, { cwd: ROOT });
  const [tarball = ''] = await readdir(work);
  const dir = join(work, 'project');
  await mkdir(dir);
  await writeFile(join(dir, 'package.json'), '{"private":true}');
  return {
    dir,
    tarball: join(work, tarball),
    async install(...packages) {
      const quiet = ['--prefer-offline', '--no-audit', '--no-fund'];
      await execute('npm', ['install', ...quiet, ...packages], { cwd: dir });
    },
    remove: () => rm(work, { recursive: true, maxRetries: 20 }),
  };
}
