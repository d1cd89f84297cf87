import { randomBytes } from 'node:crypto';
import { constants, createReadStream, createWriteStream, rmSync, type Stats } from 'node:fs';
import { access, chmod, lstat, readlink, realpath, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Writes a body to a file. The file gets the whole body, or stays as it was. Anything else, such as a pipe or `/dev/stdout`, gets
 * the bytes as they arrive.
 *
 * @throws what the body throws; an error with `syscall` if it cannot be written
 */
export async function writeWhole(path: string, body: AsyncIterable<Uint8Array>): Promise<void> {
  const file = await fileAt(path);
  if (file === undefined) return pipeline(body, createWriteStream(path));
  const { at, found } = file;
  if (found !== undefined) await access(at, constants.W_OK);
  const name = `.${basename(at).slice(0, 100)}.${randomBytes(6).toString('hex')}`;
  const beside = join(dirname(at), name);
  // A new file must not replace a file with several names, or a file of another user; and it cannot, if this user may not create
  // files there.
  const isOurs =
    found === undefined || (found.nlink === 1 && found.uid === (process.geteuid?.() ?? found.uid));
  const isRenamed = isOurs && (found === undefined || (await mayMake(dirname(at))));
  const waiting = isRenamed ? beside : join(tmpdir(), name);
  await withoutLeftovers(waiting, async () => {
    const mode = isRenamed ? (found?.mode ?? 0o666) & 0o777 : 0o600;
    await pipeline(body, createWriteStream(waiting, { flags: 'wx', mode }));
    if (!isRenamed) return pipeline(createReadStream(waiting), createWriteStream(at));
    // The file keeps its mode, whatever the umask. But a fetched body never becomes a setuid file.
    if (found !== undefined) await chmod(waiting, found.mode & 0o777);
    await rename(waiting, at);
  });
}

/**
 * The file to which a path leads, or where it will be; undefined if that is not a file, or is an open file descriptor such as
 * `/dev/fd/3`.
 */
async function fileAt(path: string): Promise<{ at: string; found: Stats | undefined } | undefined> {
  let at = resolve(path);
  for (let links = 0; links < 40; links++) {
    at = join(await realpath(dirname(at)), basename(at));
    if (/^\/(?:dev|proc)\//.test(at)) return undefined;
    const found = await lstat(at).catch((error) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (!found?.isSymbolicLink()) return found === undefined || found.isFile() ? { at, found } : undefined;
    at = resolve(dirname(at), await readlink(at));
  }
  return undefined;
}

function mayMake(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** Runs `work`, and removes its file afterwards, even if a signal ends the process. */
async function withoutLeftovers(file: string, work: () => Promise<void>): Promise<void> {
  const end = (signal: NodeJS.Signals) => {
    rmSync(file, { force: true });
    stop();
    process.kill(process.pid, signal);
  };
  const stop = () => {
    for (const signal of SIGNALS) process.off(signal, end);
  };
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    await work();
  } finally {
    stop();
    await rm(file, { force: true });
  }
}
