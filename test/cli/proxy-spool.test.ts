import fs from 'node:fs';
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { Spool } from '../../src/cli/src/proxy/spool';

const MIB = 1_048_576;

/** How many files of a folder this process has open. */
async function openIn(dir: string): Promise<number> {
  const links = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  );
  return links.filter((link) => link.startsWith(`${dir}/`)).length;
}

it.skipIf(!fs.existsSync('/proc/self/fd'))(
  'leaves no file open whose name it cannot remove, and says that the folder cannot be used',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'amesh-spool-'));
    const spool = Spool.open(dir, { maxBodyBytes: 4 * MIB, maxTotalBytes: 8 * MIB });
    const large = () => Readable.from([Buffer.alloc(MIB), Buffer.alloc(MIB)]);
    const { unlink } = fs.promises;
    fs.promises.unlink = async () => {
      throw Object.assign(new Error('EPERM: operation not permitted'), { code: 'EPERM' });
    };
    syncBuiltinESMExports();
    try {
      for (let i = 0; i < 3; i++)
        await expect(spool.gather(large())).rejects.toMatchObject({ status: 503, code: 'spool_full' });
    } finally {
      fs.promises.unlink = unlink;
      syncBuiltinESMExports();
    }
    expect(await openIn(dir)).toBe(0);
    expect(spool.usage).toEqual({ files: 0, bytes: 0 });
    const gathered = await spool.gather(large());
    expect(await openIn(dir)).toBe(1);
    await gathered.release();
    expect(await openIn(dir)).toBe(0);
    await rm(dir, { recursive: true });
  },
);
