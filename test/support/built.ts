import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isPacked } from './packed';

const ROOT = new URL('../../', import.meta.url).pathname;
const LOCK = `${ROOT}node_modules/.amesh-build.lock`;

let built: Promise<void> | undefined;

/**
 * Builds the packages where their sources are newer than what was built of them. Test files run side by side, so one of
 * them builds and the others wait for it.
 */
export function ensureBuilt(): Promise<void> {
  if (isPacked) return Promise.resolve();
  built ??= build();
  return built;
}

async function build(): Promise<void> {
  await takeLock();
  try {
    await promisify(execFile)(process.execPath, ['scripts/build.mjs', '--if-needed'], {
      cwd: ROOT,
    });
  } finally {
    await rm(LOCK, { force: true });
  }
}

/** The lock is a file with the id of the process that builds; one whose process is gone counts for nothing. */
async function takeLock(): Promise<void> {
  for (;;) {
    try {
      await writeFile(LOCK, String(process.pid), { flag: 'wx' });
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error;
    }
    const holder = Number(await readFile(LOCK, 'utf8').catch(() => ''));
    if (holder > 0 && !isRunning(holder)) await rm(LOCK, { force: true });
    await sleep(100);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
