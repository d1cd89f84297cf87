import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toTrustLine } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

async function createPair() {
  const [alice, prod] = [await createMachine(), await createMachine()];
  const [aliceIdentity, prodIdentity] = [await alice.init('alice-laptop'), await prod.init('prod-api')];
  return {
    alice,
    prod,
    aliceId: aliceIdentity.deviceId,
    prodId: prodIdentity.deviceId,
    aliceLine: `amesh-p256 ${aliceIdentity.publicKey} alice-laptop`,
    prodLine: `amesh-p256 ${prodIdentity.publicKey} prod-api`,
  };
}

const entriesOf = async (machine: Machine) =>
  (await machine.allowList()).devices.map(({ friendlyName, roles, hosts }) => ({
    friendlyName,
    roles,
    hosts,
  }));

describe('amesh trust export', () => {
  it('prints exactly one line on stdout, and the other commands on stderr', async () => {
    const { prod, prodLine } = await createPair();
    const ran = await prod.amesh(['trust', 'export']);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toBe(`${prodLine}\n`);
    expect(ran.stderr).toContain(`amesh trust add --role controller "${prodLine}"`);
    expect(ran.stderr).toContain(`    amesh trust add --role target --host HOST:PORT "${prodLine}"\n`);
  });

  it('names the hosts of this machine in the command for its callers', async () => {
    const { prod, prodLine, prodId } = await createPair();
    await prod.amesh(['config', 'hosts', 'api.example.com']);
    const ran = await prod.amesh(['trust', 'export']);
    expect(ran.stderr).toContain(`amesh trust add --role target --host api.example.com "${prodLine}"`);
    expect(objectOf(await prod.amesh(['trust', 'export', '--json']))).toMatchObject({
      ok: true,
      line: prodLine,
      deviceId: prodId,
      hosts: ['api.example.com'],
    });
  });
});

describe('amesh trust add', () => {
  it('says that other devices have the same name, and that commands then need an ID', async () => {
    const { prod, aliceLine, aliceId } = await createPair();
    await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    const second = await (await createMachine()).init('x');
    const line = `amesh-p256 ${second.publicKey} alice-laptop`;
    for (const yes of [[], ['--yes']]) {
      const ran = await prod.amesh(['trust', 'add', '--role', 'controller', line, ...yes]);
      expect(ran.code).toBe(0);
      const undo = prod.here(`amesh revoke ${second.deviceId}`);
      expect(ran.stderr).toContain(`may now call this machine.   Undo: ${undo}\n`);
      expect(ran.stderr).toContain(
        `! There is already a device called "alice-laptop" (${aliceId}). Commands now need the ID of the device that you mean.\n`,
      );
      const rename = prod.here(`amesh rename ${second.deviceId} NEW-NAME`);
      expect(ran.stderr).toContain(`  To rename the new one:  ${rename}\n`);
      expect((await prod.amesh(['revoke', second.deviceId, '--yes'])).code).toBe(0);
    }
    // The same device again has no namesake.
    const again = await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    expect(again.stderr).toContain('may already call this machine. No changes were made.');
    expect(again.stderr).not.toContain('There is already a device');
  });

  it('pairs two machines, and each step names the next one', async () => {
    const { alice, prod, aliceId, prodId, aliceLine, prodLine } = await createPair();
    await prod.amesh(['config', 'hosts', 'api.example.com']);
    const there = await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    expect(there.code).toBe(0);
    expect(there.stdout).toBe('');
    expect(there.stderr).toContain(`✓ "alice-laptop" (${aliceId}) may now call this machine.`);
    expect(there.stderr).toContain(`Undo: ${prod.here('amesh revoke alice-laptop')}\n`);
    const mirror = `amesh trust add --role target --host api.example.com "${prodLine}"`;
    expect(there.stderr).toContain(`    ${mirror}\n`);

    const back = await alice.amesh([
      'trust',
      'add',
      '--role',
      'target',
      '--host',
      'api.example.com',
      prodLine,
    ]);
    expect(back.code).toBe(0);
    expect(back.stderr).toContain(
      `✓ This machine may now send requests to "prod-api" (${prodId}), at api.example.com.`,
    );
    expect(back.stderr).toContain(`Undo: ${alice.here('amesh revoke prod-api')}\n`);
    expect(back.stderr).not.toContain('!');
    expect(back.stderr).toContain(`    amesh trust add --role controller "${aliceLine}"\n`);

    expect(await entriesOf(prod)).toEqual([
      { friendlyName: 'alice-laptop', roles: ['controller'], hosts: [] },
    ]);
    expect(await entriesOf(alice)).toEqual([
      { friendlyName: 'prod-api', roles: ['target'], hosts: ['api.example.com'] },
    ]);
  });

  it.each([[[]], [['-']]])('reads the line from stdin: %j', async (argument) => {
    const { prod, aliceLine, aliceId } = await createPair();
    const args = ['trust', 'add', '--role', 'controller', '--json', ...argument];
    const ran = await prod.amesh(args, { input: `\n  ${aliceLine}\r\n` });
    expect(ran.code).toBe(0);
    expect(objectOf(ran)).toMatchObject({
      ok: true,
      changed: true,
      device: { deviceId: aliceId, friendlyName: 'alice-laptop', roles: ['controller'], hosts: [] },
    });
  });

  it('says if a device is already trusted', async () => {
    const { prod, aliceLine } = await createPair();
    const args = ['trust', 'add', '--role', 'controller', aliceLine];
    await prod.amesh(args);
    const { revision } = await prod.allowList();
    const ran = await prod.amesh(args);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('may already call this machine. No changes were made.');
    expect(objectOf(await prod.amesh([...args, '--json']))).toMatchObject({ ok: true, changed: false });
    expect((await prod.allowList()).revision).toBe(revision);
  });

  it('adds the second role to a device that has one', async () => {
    const { prod, aliceLine } = await createPair();
    await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    const ran = await prod.amesh(['trust', 'add', '--role', 'target', '--host', 'a.example', aliceLine]);
    expect(ran.stderr).toContain(`Undo: ${prod.here('amesh revoke alice-laptop')} (removes both roles)`);
    expect(await entriesOf(prod)).toEqual([
      { friendlyName: 'alice-laptop', roles: ['controller', 'target'], hosts: ['a.example'] },
    ]);
  });

  it('says what --host is for, and names the other role, if a target has no host', async () => {
    const { alice, prodLine } = await createPair();
    const ran = await alice.amesh(['trust', 'add', '--role', 'target', prodLine]);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain(
      '! Without --host, requests to "prod-api" do not name it as their target. Add its host, so that they are valid for that machine only.\n' +
        `  To add it: ${alice.here(`amesh trust add --role target --host HOST:PORT "${prodLine}"`)}\n` +
        '! If "prod-api" calls this machine, it needs the other role:\n' +
        `  ${alice.here(`amesh trust add --role controller "${prodLine}"`)}\n`,
    );
    await alice.amesh(['trust', 'add', '--role', 'controller', prodLine]);
    const again = await alice.amesh(['trust', 'add', '--role', 'target', prodLine]);
    expect(again.stderr).toContain('✓ This machine may already send requests to "prod-api"');
    expect(again.stderr).toContain('No changes were made.');
    expect(again.stderr).toContain(
      '! Without --host, requests to "prod-api" do not name it as their target.',
    );
    expect(again.stderr).not.toContain('the other role');
  });

  it('says that a loopback name without a port means only two ports', async () => {
    const { alice, prodLine } = await createPair();
    const ran = await alice.amesh(['trust', 'add', '--role', 'target', '--host', 'localhost', prodLine]);
    expect(ran.stderr).toContain(
      '! "localhost" means ports 80 and 443. For another port, include it: localhost:3000\n',
    );
  });

  it('refuses hosts for a controller: they belong to a target', async () => {
    const { prod, aliceLine } = await createPair();
    const ran = await prod.amesh(['trust', 'add', '--role', 'controller', '--host', 'a.example', aliceLine]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('--host is for a target');
    expect(await entriesOf(prod)).toEqual([]);
  });

  it('refuses a host that belongs to another target', async () => {
    const { alice, prodId, prodLine } = await createPair();
    const other = await (await createMachine()).init('impostor');
    const add = ['trust', 'add', '--role', 'target', '--host'];
    await alice.amesh([...add, 'api.example.com', prodLine]);
    const ran = await alice.amesh([
      ...add,
      'b.example,API.example.com:443',
      `amesh-p256 ${other.publicKey} impostor`,
    ]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toBe(
      '✗ api.example.com already belongs to "prod-api".\n' +
        `  Use another host, or first run: ${alice.here(`amesh revoke ${prodId}`)}\n  No changes were made.\n`,
    );
    expect((await entriesOf(alice)).map(({ friendlyName }) => friendlyName)).toEqual(['prod-api']);
  });

  it("refuses this machine's own line", async () => {
    const { prod, prodLine } = await createPair();
    const ran = await prod.amesh(['trust', 'add', '--role', 'controller', prodLine]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain("This is this machine's own key.");
  });

  it.each([
    ['a word', 'hello'],
    ['a key that is not a point', `amesh-p256 A${'_'.repeat(43)} x`],
    ['a key cut short', 'amesh-p256 A0RaTZ2GhJkBol x'],
    ['two lines', `amesh-p256 A${'A'.repeat(43)} x\namesh-p256 A${'A'.repeat(43)} y`],
    ['an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB x'],
    ['10 kB', `amesh-p256 A${'A'.repeat(10_000)}`],
    ['bytes', '\u0000\ufffd\u001b[2J'],
  ])('refuses a text that is not a line: %s', async (_, input) => {
    const { prod } = await createPair();
    const ran = await prod.amesh(['trust', 'add', '--role', 'controller'], { input });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('Copy the whole line: amesh-p256 <key> <name>');
    expect(ran.stderr).toContain('No changes were made.');
    expect(await entriesOf(prod)).toEqual([]);
  });

  it('refuses an empty stdin, and one without end', async () => {
    const { prod } = await createPair();
    const add = ['trust', 'add', '--role', 'controller'];
    const empty = await prod.amesh(add);
    expect(empty.code).toBe(2);
    expect(empty.stderr).toContain('No line was given.');
    const endless = await prod.amesh(add, { input: 'a'.repeat(1_000_000) });
    expect(endless.code).toBe(2);
    expect(endless.stderr).toContain('stdin contains more than one line.');
  });

  it('says that the quotation marks are missing', async () => {
    const { prod, aliceLine } = await createPair();
    const ran = await prod.amesh(['trust', 'add', '--role', 'controller', ...aliceLine.split(' ')]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('Put a value with spaces in quotes.');
  });
});

describe('amesh trust reset', () => {
  async function breakList(machine: Machine) {
    const path = join(machine.dir, 'allow_list.json');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('alice-laptop', 'alice_laptop'));
    return text;
  }

  it('moves a broken list aside, starts an empty one, and says that all machines must be paired again', async () => {
    const { prod, aliceLine } = await createPair();
    await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    await breakList(prod);
    const broken = await prod.amesh(['list']);
    expect(broken.code).toBe(1);
    expect(broken.stderr).toContain('✗ The seal of the allow list is broken.');
    expect(broken.stderr).toContain(prod.here('amesh trust reset\n'));

    const ran = await prod.amesh(['trust', 'reset', '--yes']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('pair every machine again');
    expect(ran.stderr).toContain(prod.here('amesh trust add --role controller "LINE"\n'));
    expect(ran.stderr).not.toMatch(/<\w+>/);
    const [, movedTo = ''] = /A copy of the old one is in (\S+)/.exec(ran.stderr) ?? [];
    expect(await readFile(join(movedTo, 'allow_list.json'), 'utf8')).toContain('alice_laptop');
    expect(await entriesOf(prod)).toEqual([]);
    expect((await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine])).code).toBe(0);
  });

  it('prints the hosts of the old list', async () => {
    const { prod } = await createPair();
    await prod.amesh(['config', 'hosts', 'a.example,b.example:8080']);
    const ran = await prod.amesh(['trust', 'reset', '--yes']);
    expect(ran.stderr).toContain(`${prod.here('amesh config hosts a.example,b.example:8080')}\n`);
  });

  it('does nothing without a terminal and --yes', async () => {
    const { prod, aliceLine } = await createPair();
    await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    const ran = await prod.amesh(['trust', 'reset'], { input: 'y\n' });
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('Use --yes.');
    expect(await entriesOf(prod)).toHaveLength(1);
    await expect(stat(join(prod.dir, 'replaced'))).rejects.toThrow('ENOENT');
  });

  async function putOlderBack() {
    const { prod, aliceLine } = await createPair();
    await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    const path = join(prod.dir, 'allow_list.json');
    const older = await readFile(path);
    await prod.amesh(['config', 'hosts', 'api.example.com', '--yes']);
    await writeFile(path, older);
    return { prod, path };
  }

  it('--keep continues from a list that is only too old, with all its content', async () => {
    const { prod } = await putOlderBack();
    const broken = await prod.amesh(['list']);
    expect(broken.code).toBe(1);
    expect(broken.stderr).toContain(
      '✗ The allow list is an older copy: revision 2, but this machine has seen 3.',
    );
    expect(broken.stderr).toContain(prod.here('amesh trust reset --keep\n'));

    const ran = await prod.amesh(['trust', 'reset', '--keep', '--yes']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toMatch(/^✓ Continued from the list of [\d: -]+ UTC, with 1 device\.$/m);
    expect(ran.stderr).toContain('! Changes since then are lost');
    expect((await entriesOf(prod)).map(({ friendlyName }) => friendlyName)).toEqual(['alice-laptop']);
    expect((await prod.amesh(['config', 'hosts', '--json'])).stdout).toContain('"hosts":[]');
  });

  it('--keep does nothing without a terminal and --yes, nor if the list is in order', async () => {
    const { prod, path } = await putOlderBack();
    const before = await readFile(path);
    const asked = await prod.amesh(['trust', 'reset', '--keep'], { input: 'y\n' });
    expect(asked.code).toBe(2);
    expect(asked.stderr).toContain('Use --yes.');
    expect(await readFile(path)).toEqual(before);

    await prod.amesh(['trust', 'reset', '--keep', '--yes']);
    const mended = await readFile(path);
    const again = await prod.amesh(['trust', 'reset', '--keep', '--yes', '--json']);
    expect(objectOf(again)).toEqual({ ok: true, changed: false });
    expect(await readFile(path)).toEqual(mended);
  });

  it('--keep keeps nothing of a list whose seal is broken', async () => {
    const { prod, aliceLine } = await createPair();
    await prod.amesh(['trust', 'add', '--role', 'controller', aliceLine]);
    await breakList(prod);
    const before = await readFile(join(prod.dir, 'allow_list.json'));
    const ran = await prod.amesh(['trust', 'reset', '--keep', '--yes']);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('✗ The seal of the allow list is broken.');
    expect(ran.stderr).toContain('No changes were made.');
    expect(await readFile(join(prod.dir, 'allow_list.json'))).toEqual(before);
  });

  it('starts a list if there is none, and if seen.json is damaged', async () => {
    const { prod } = await createPair();
    await writeFile(join(prod.dir, 'seen.json'), 'x');
    const ran = await prod.amesh(['trust', 'reset', '--yes', '--json']);
    expect(ran.code).toBe(0);
    const { movedTo } = objectOf(ran) as unknown as { movedTo: string };
    expect(await readdir(movedTo)).toEqual(['allow_list.json', 'seen.json']);
    expect((await prod.amesh(['list'])).code).toBe(0);
  });
});

describe('amesh trust add with a wrong AMESH_HOSTS', () => {
  it('does not say that a change was not made', async () => {
    const [machine, peer] = [await createMachine(), await createMachine()];
    await machine.init('prod-api');
    const line = toTrustLine(await peer.init('laptop'));
    const ran = await machine.amesh(['trust', 'add', '--role', 'controller', line], {
      env: { AMESH_HOSTS: 'https://x' },
    });
    expect(ran.code).toBe(0);
    expect(ran.stderr).not.toContain('No changes were made');
    expect((await machine.allowList()).devices).toHaveLength(1);
  });
});

it('a target that cannot prove its answers is shown as such', async () => {
  const [api, caller] = [await createMachine(), await createMachine()];
  await api.init('api');
  await caller.init('caller');
  const { stdout: line } = await api.amesh(['trust', 'export', '--no-proofs']);
  const add = ['trust', 'add', '--role', 'target', '--host', 'api:3000'];
  expect((await caller.amesh([...add, line.trim()])).stderr).toContain('It cannot prove its answers.');
  expect((await caller.amesh(['list'])).stdout).toContain('target (cannot prove its answers)');
  expect((await caller.amesh(['status'])).stdout).toContain('api:3000  cannot prove its answers');
  await caller.amesh([...add, line.trim().replace('/no-proofs', '')]);
  expect((await caller.amesh(['list'])).stdout).not.toContain('cannot prove');
  await caller.amesh([...add, '--no-proofs', line.trim().replace('/no-proofs', '')]);
  expect((await caller.amesh(['list'])).stdout).toContain('target (cannot prove its answers)');
});
