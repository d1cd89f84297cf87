import { describe, expect, it } from 'vitest';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh config', () => {
  it('shows the settings and where they come from', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    expect((await machine.amesh(['config'])).stdout).toBe(
      `folder  ${machine.dir}  (AUTH_MESH_DIR)\nhosts   localhost only${' '.repeat(machine.dir.length - 14)}  (nothing is set)\nrelay   wss://relay.authmesh.dev/ws${' '.repeat(machine.dir.length - 27)}  (default)\n`,
    );
    await machine.amesh(['config', 'hosts', 'a.example']);
    expect((await machine.amesh(['config'])).stdout).toMatch(
      /^hosts +a\.example +\(the sealed list; AMESH_HOSTS is not set\)$/m,
    );

    const env = { AMESH_HOSTS: 'B.example:443' };
    const { stdout } = await machine.amesh(['config'], { env });
    expect(stdout).toMatch(/^hosts +b\.example +\(AMESH_HOSTS in this shell\)$/m);
    expect(stdout).toMatch(/^sealed hosts +a\.example +\(not used\)$/m);
    expect(objectOf(await machine.amesh(['config', '--json'], { env }))).toEqual({
      ok: true,
      dir: machine.dir,
      dirFrom: 'AUTH_MESH_DIR',
      hosts: ['b.example'],
      hostsFrom: 'AMESH_HOSTS',
      relay: 'wss://relay.authmesh.dev/ws',
      relayFrom: 'default',
      sealedHosts: ['a.example'],
    });
  });

  it('uses ~/.amesh if AUTH_MESH_DIR is not set', async () => {
    const machine = await createMachine();
    const ran = await machine.amesh(['config'], { env: { AUTH_MESH_DIR: '', HOME: machine.dir } });
    expect(ran.code).toBe(10);
    expect(ran.stderr).toContain(`There is no amesh identity in ${machine.dir}/.amesh.`);
  });

  it('says that AMESH_HOSTS is wrong', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const ran = await machine.amesh(['config'], { env: { AMESH_HOSTS: 'http://x' } });
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain(
      'AMESH_HOSTS is wrong, so a server would not start: "http://x" is not a host.',
    );
  });
});

describe('amesh config hosts', () => {
  it('sets, shows and clears the sealed hosts', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const empty = await machine.amesh(['config', 'hosts']);
    expect(empty).toMatchObject({ code: 0, stdout: '' });
    expect(empty.stderr).toContain('Accepts requests for localhost only.');

    const set = await machine.amesh(['config', 'hosts', 'API.example.com:443,b.example:8080']);
    expect(set).toMatchObject({ code: 0, stdout: 'api.example.com\nb.example:8080\n' });
    expect(set.stderr).toContain('✓ Accepts requests for api.example.com, b.example:8080.');
    expect(set.stderr).toContain(
      'amesh trust add --role target --host api.example.com,b.example:8080 "amesh-p256 ',
    );
    expect((await machine.allowList()).hosts).toEqual(['api.example.com', 'b.example:8080']);

    expect((await machine.amesh(['config', 'hosts'])).stdout).toBe(set.stdout);
    const same = await machine.amesh(['config', 'hosts', 'b.example:8080,api.example.com', '--json']);
    expect(objectOf(same)).toMatchObject({ ok: true, changed: false });
    expect((await machine.amesh(['config', 'hosts', '--clear'])).code).toBe(0);
    expect((await machine.allowList()).hosts).toEqual([]);
  });

  it('says which names are no longer accepted, and keeps them with the command that it prints', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const notesOf = async (...args: string[]) => {
      const { stderr } = await machine.amesh(['config', 'hosts', ...args]);
      return stderr.split('\n').filter((line) => /No longer|To keep/.test(line));
    };
    const lost = (names: string, kept: string) => [
      `! No longer accepts requests for: ${names}`,
      `  To keep them: ${machine.here(`amesh config hosts ${kept}`)}`,
    ];
    const loopback = 'localhost and other loopback names';
    expect(await notesOf('vm:3000')).toEqual(lost(loopback, 'vm:3000,localhost:3000'));
    expect(await notesOf('vm:3000,localhost:3000')).toEqual([]);
    expect(await notesOf('a.example')).toEqual(
      lost('vm:3000, localhost:3000', 'a.example,vm:3000,localhost:3000'),
    );
    expect(await notesOf('a.example')).toEqual([]);
    expect(await notesOf('a.example,vm:3000,localhost:3000')).toEqual([]);
    // Without a list localhost counts anyway.
    expect(await notesOf('--clear')).toEqual(lost('a.example, vm:3000', 'a.example,vm:3000,localhost:3000'));
    expect(await notesOf('a.example')).toEqual(lost(loopback, 'a.example,localhost:PORT'));
    expect(await notesOf()).toEqual([]);
  });

  it('adds to the sealed list with --add', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const first = await machine.amesh(['config', 'hosts', '--add', 'vm:3000']);
    expect(first.stderr).toContain('! No longer accepts requests for: localhost and other loopback names\n');
    const second = await machine.amesh(['config', 'hosts', '--add', 'API.example.com:443,vm:3000']);
    expect(second).toMatchObject({ code: 0, stdout: 'vm:3000\napi.example.com\n' });
    expect(second.stderr).not.toContain('No longer');
    expect((await machine.allowList()).hosts).toEqual(['vm:3000', 'api.example.com']);
    const same = await machine.amesh(['config', 'hosts', '--add', 'vm:3000', '--json']);
    expect(objectOf(same)).toEqual({ ok: true, hosts: ['vm:3000', 'api.example.com'], changed: false });
  });

  it('says beforehand that machines that call this one could no longer use localhost', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const { publicKey } = await (await createMachine()).init('alice');
    await machine.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} alice`]);
    for (const args of [['--add', 'api.example.com'], ['api.example.com']]) {
      const refused = await machine.amesh(['config', 'hosts', ...args]);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toContain(
        '✗ Until now, this machine accepts requests for localhost. With this list it accepts them only for api.example.com, also for the machine that may call this one.\n' +
          `  To keep localhost: ${machine.here('amesh config hosts api.example.com,localhost:PORT')}   To drop it: --yes\n`,
      );
      expect((await machine.allowList()).hosts).toEqual([]);
    }
    const kept = await machine.amesh(['config', 'hosts', 'api.example.com,localhost:3000']);
    expect(kept.code).toBe(0);
    await machine.amesh(['config', 'hosts', '--clear']);
    const done = await machine.amesh(['config', 'hosts', '--add', 'api.example.com', '--yes']);
    expect([done.code, (await machine.allowList()).hosts]).toEqual([0, ['api.example.com']]);
    expect((await machine.amesh(['config', 'hosts', '--add', 'b.example'])).code).toBe(0);
  });

  it('removes hosts from the sealed list with --remove', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    await machine.amesh(['config', 'hosts', 'a.example,b.example,localhost:3000']);
    const one = await machine.amesh(['config', 'hosts', '--remove', 'B.example:443']);
    expect(one).toMatchObject({ code: 0, stdout: 'a.example\nlocalhost:3000\n' });
    expect(one.stderr).not.toContain('To keep them');
    const all = await machine.amesh(['config', 'hosts', '--remove', 'a.example,localhost:3000']);
    expect(all.stderr).toContain('✓ Accepts requests for localhost only.');
    expect((await machine.allowList()).hosts).toEqual([]);
  });

  it('says that a loopback name without a port means only two ports', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const note = '! "localhost" means ports 80 and 443. For another port, include it: localhost:3000\n';
    expect((await machine.amesh(['config', 'hosts', 'localhost'])).stderr).toContain(note);
    expect((await machine.amesh(['config', 'hosts', '--add', 'a.example'])).stderr).not.toContain(note);
  });

  it('warns if AMESH_HOSTS takes precedence', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const ran = await machine.amesh(['config', 'hosts', 'a.example'], { env: { AMESH_HOSTS: 'b.example' } });
    expect(ran.stderr).toContain('! AMESH_HOSTS is set in this shell and takes precedence: b.example');
  });

  it.each([
    [['a', '--clear'], 'Hosts, --add, --remove and --clear cannot be combined.'],
    [['a', '--add', 'b'], 'Hosts, --add, --remove and --clear cannot be combined.'],
    [['--clear', '--add', 'b'], 'Hosts, --add, --remove and --clear cannot be combined.'],
    [['--remove', 'a', '--add', 'b'], 'Hosts, --add, --remove and --clear cannot be combined.'],
    [
      ['--remove', 'a.example'],
      'This machine does not accept requests for a.example, so there is nothing to remove.',
    ],
    [['--add', ','], 'No host is given.'],
    [['--add', 'https://a.example'], '"https://a.example" is not a host.'],
    [[','], 'No host is given.'],
    [[''], 'No host is given.'],
    [['a', 'b'], 'There is one argument too many: "b".'],
    [['https://a.example/'], '"https://a.example/" is not a host.'],
    [['a.example/path'], 'is not a host.'],
    [['user@a.example'], 'is not a host.'],
    [['*.example'], 'is not a host.'],
  ])('is a usage error: %j', async (args, message) => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const ran = await machine.amesh(['config', 'hosts', ...args]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(message);
    expect((await machine.allowList()).hosts).toEqual([]);
  });
});
