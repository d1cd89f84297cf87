import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** Every file with its bytes, mode and time. */
export async function fingerprintOf(dir: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(dir, { recursive: true })).sort()) {
    const { mode, mtimeMs } = await stat(join(dir, name));
    hash.update(`${name} ${mode} ${mtimeMs} `);
    hash.update(await readFile(join(dir, name)).catch(() => ''));
  }
  return hash.digest('hex');
}
