import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, inspectFolder, modelessText } from '@authmesh/sdk/admin';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-modeless-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

describe('a volume', () => {
  it.each([
    ['cifs', 0xff534d42, /^The volume \(SMB\) has no modes.*uid=USER,dir_mode=0700,file_mode=0600/],
    ['smb2', 0xfe534d42, /^The volume \(SMB\)/],
    ['vfat', 0x4d44, /^The volume \(FAT or NTFS\) has no modes.*umask=077/],
    ['exfat', 0x2011bab0, /^The volume \(FAT or NTFS\)/],
    ['ntfs3', 0x7366746e, /^The volume \(FAT or NTFS\)/],
    ['vboxsf', 0x786f4256, /^The volume \(shared by the host/],
    ['FUSE', 0x65735546, /^If chmod has no effect, the volume \(FUSE\) has no modes.*named volume/],
    ['9p', 0x01021997, /^If chmod has no effect.*metadata/],
  ])('of type %s is named', (_name, type, text) => {
    expect(modelessText('/x', () => type)).toMatch(text);
  });

  it.each([
    ['ext4', 0xef53],
    ['tmpfs', 0x01021994],
    ['xfs', 0x58465342],
    ['nfs', 0x6969],
    ['overlay', 0x794c7630],
  ])('of type %s is not', (_name, type) => {
    expect(modelessText('/x', () => type)).toBeNull();
  });

  it('of another kind does not change the advice', async () => {
    await chmod(root, 0o777);
    expect(inspectFolder(root, {})[0]?.fix).toBe(`chmod 700 ${root}`);
  });
});

// What the kernel does not let anybody do here is no missing component, so that it is no failure in CI.
const mayMount = existsSync('/dev/fuse') && process.getuid?.() === 0;
const hasBindfs = existsSync('/usr/bin/bindfs') || Boolean(process.env.CI);
if (!mayMount || !hasBindfs)
  console.warn(
    'A test with a real volume without modes is left out: there is no bindfs, no /dev/fuse, or no root.',
  );

if (mayMount) {
  describe.skipIf(!hasBindfs)('a real volume on which chmod changes nothing', () => {
    it('is recognised as one, with a way out, which works', async () => {
      const [below, volume] = [join(root, 'below'), join(root, 'volume')];
      await Promise.all([mkdir(below), mkdir(volume)]);
      execFileSync('bindfs', ['--chmod-ignore', '--perms=0777', below, volume]);
      try {
        const dir = join(volume, 'amesh');
        const [found] = inspectFolder(dir, {});
        expect(found?.kind).toBe('open');
        expect(found?.fix).toMatch(
          /If chmod has no effect, the volume \(FUSE\) has no modes: use a folder on another volume/,
        );
        expect(inspectFolder(dir, { AMESH_FOLDER_OWNERS: 'any' })).toEqual([]);
        await createIdentity(dir, { AMESH_FOLDER_OWNERS: 'any' }, { friendlyName: 'a' });
        expect((await stat(join(dir, 'identity.json'))).mode & 0o777).toBe(0o777);
      } finally {
        execFileSync('umount', [volume]);
      }
    });
  });
}
