import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('a variable that no shell has interpreted', () => {
  it.each([
    ['AUTH_MESH_DIR', '~/x', 'Write the whole path.'],
    ['AUTH_MESH_DIR', '"/tmp/amesh-quoted"', 'Leave them out.'],
    ['AUTH_MESH_DIR', '/tmp/amesh-crlf\r', 'Save its file with LF line ends.'],
    ['AUTH_MESH_DIR', ' ', 'Set it, or unset it.'],
    ['AUTH_MESH_PASSPHRASE', 'horse\r', 'Save its file with LF line ends.'],
    ['AUTH_MESH_PASSPHRASE', '', 'Set it, or unset it.'],
    ['AMESH_PASSPHRASE_FILE', '~/horse', 'Write the whole path.'],
    ['AMESH_HOSTS', "'a.example'", 'Leave them out.'],
    ['AMESH_RELAY_URL', 'ws://127.0.0.1:1/ws ', 'Remove it.'],
    ['AMESH_STORE_URL', '', 'Set it, or unset it.'],
    ['AMESH_STORE_URL', '"redis://:horse@127.0.0.1:1"', 'Leave them out.'],
    ['AMESH_OWNER_KEY', ' ', 'Set it, or unset it.'],
    ['AMESH_MIN_REVISION', '7\r', 'Save its file with LF line ends.'],
    ['AMESH_FOLDER_OWNERS', '1000\r', 'Save its file with LF line ends.'],
  ])('%s=%j: nothing is created', async (name, value, hint) => {
    const machine = await createMachine();
    const cwd = dirname(machine.dir);
    const ran = await machine.amesh(['init', '--name', 'a', '--json'], { env: { [name]: value }, cwd });
    expect(ran.code).toBe(2);
    const { error } = objectOf(ran) as { error: { code: string; message: string; hint: string } };
    expect(error.code).toBe('usage');
    expect(error.message).toMatch(new RegExp(`^${name} [a-z ]+`));
    expect(error.hint).toBe(hint);
    expect(ran.stdout + ran.stderr).not.toContain(':horse');
    expect(await readdir(cwd)).toEqual([]);
    expect(existsSync(value.trim())).toBe(false);
  });

  it('is reported by doctor next to the rest, which it checks', async () => {
    const machine = await createMachine('a');
    const env = {
      AMESH_STORE_URL: '',
      REDIS_URL: '"redis://:horse@127.0.0.1:1"',
      AMESH_HOSTS: 'a.example\r',
      AMESH_RELAY_URL: '"ws://127.0.0.1:1"',
    };
    const ran = await machine.amesh(['doctor', '--json'], { env });
    const checks = objectOf(ran).checks as { check: string; state: string; message: string }[];
    for (const [check, message] of [
      ['store', 'AMESH_STORE_URL is empty.'],
      ['nonces', 'REDIS_URL has quotes around it'],
      ['hosts', 'AMESH_HOSTS ends with a carriage return'],
      ['relay', 'AMESH_RELAY_URL has quotes around it'],
    ]) {
      const found = checks.find((finding) => finding.check === check);
      expect(found).toMatchObject({ state: 'failed', message: expect.stringContaining(message as string) });
    }
    expect(ran.stdout).not.toContain('horse');
  });

  // As os.homedir() does for a user without an entry in /etc/passwd, whose HOME is not set.
  const HOMELESS = `data:text/javascript,
    import os from 'node:os';
    import { syncBuiltinESMExports } from 'node:module';
    os.homedir = () => { throw Object.assign(new Error('uv_os_homedir returned ENOENT'), { syscall: 'uv_os_homedir' }); };
    syncBuiltinESMExports();`.replace(/\s+/g, '%20');

  it.each([['init', '--name', 'a'], ['list'], ['doctor']])(
    'is missing if there is no home folder either: amesh %s',
    async (...args) => {
      const machine = await createMachine();
      const env = { AUTH_MESH_DIR: '', NODE_OPTIONS: `--import=${HOMELESS}` };
      const ran = await machine.amesh([...args, '--json'], { env });
      expect(ran).toMatchObject({ code: 1, stderr: '' });
      expect(objectOf(ran)).toMatchObject({
        error: {
          code: 'identity_unreadable',
          message: expect.stringMatching(/^There is no home folder: /),
          hint: 'Set AUTH_MESH_DIR.',
        },
      });
    },
  );

  it('does not prevent the help', async () => {
    const machine = await createMachine();
    expect((await machine.amesh(['init', '--help'], { env: { AUTH_MESH_DIR: '~/x' } })).code).toBe(0);
  });
});
