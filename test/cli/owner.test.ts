import { chmod, chown, mkdir, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createIdentity, toTrustLine } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { useMachines } from './amesh';

const createMachine = useMachines();
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('root in the folder of another user', () => {
  it('acts as that user, so that their server can read what it writes', async () => {
    const machine = await createMachine();
    // The folder is theirs, and the way to it open.
    for (let path = dirname(machine.dir); path !== '/tmp' && path !== '/'; path = dirname(path))
      await chmod(path, 0o755);
    await mkdir(machine.dir, { mode: 0o700 });
    await chown(machine.dir, NOBODY, NOBODY);
    expect((await machine.amesh(['init', '--name', 'server'])).code).toBe(0);
    const peer = await createIdentity(join(dirname(machine.dir), 'peer'), {}, { friendlyName: 'peer' });
    const added = await machine.amesh(['trust', 'add', '--role', 'controller', toTrustLine(peer)]);
    expect(added.stderr).toContain('may now call this machine');
    for (const name of await readdir(machine.dir, { recursive: true })) {
      expect({ name, uid: (await stat(join(machine.dir, name))).uid }).toEqual({ name, uid: NOBODY });
    }
  });
});
