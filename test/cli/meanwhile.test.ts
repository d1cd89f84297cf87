import { spawn, spawnSync } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { BIN, type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

const hasScript = spawnSync('script', ['--version']).stdout?.includes('util-linux') ?? false;

/** Runs a command on a pseudo-terminal. Something else happens before the user says yes. */
async function whileAsked(
  machine: Machine,
  args: readonly string[],
  meanwhile: () => Promise<unknown>,
  env: Record<string, string> = {},
) {
  const command = [process.execPath, BIN, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: machine.env({ TERM: 'xterm', ...env }),
  });
  let screen = '';
  let isAnswered = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
    if (isAnswered || !screen.includes('[y/N] ')) return;
    isAnswered = true;
    void meanwhile().then(() => child.stdin.write('y\r'));
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, screen };
}

async function createPaired() {
  const machine = await createMachine();
  await machine.init('prod-api');
  const add = async (name: string) => {
    const { publicKey } = await (await createMachine()).init(name);
    return machine.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} ${name}`]);
  };
  await add('alice');
  return { machine, add, path: join(machine.dir, 'allow_list.json') };
}

const CHANGED =
  /✗\S* The allow list has changed since the question\.\s+Run the command again\.\s+No changes were made\./;
const namesOf = async (machine: Machine) =>
  (await machine.allowList()).devices.map(({ friendlyName }) => friendlyName);

describe.skipIf(!hasScript)('a list that changes while the user is asked', () => {
  it('is not replaced by trust reset', async () => {
    const { machine, add } = await createPaired();
    const { code, screen } = await whileAsked(machine, ['trust', 'reset'], () => add('bob'));
    expect(screen).toContain('The allow list is intact, with 1 device. Replace it with an empty one?');
    expect([code, screen]).toEqual([9, expect.stringMatching(CHANGED)]);
    expect(await namesOf(machine)).toEqual(['alice', 'bob']);
  });

  it('is not replaced by trust reset if it was broken, and no longer is', async () => {
    const { machine, path } = await createPaired();
    const whole = await readFile(path);
    await writeFile(path, 'broken');
    const mend = () => writeFile(path, whole);
    const { code, screen } = await whileAsked(machine, ['trust', 'reset'], mend);
    expect([code, screen]).toEqual([9, expect.stringMatching(CHANGED)]);
    expect(await namesOf(machine)).toEqual(['alice']);
  });

  it('is not continued by trust reset --keep', async () => {
    const { machine, add, path } = await createPaired();
    const older = await readFile(path);
    await add('bob');
    const other = await readFile(path);
    await add('carol');
    await writeFile(path, older);
    const args = ['trust', 'reset', '--keep'];
    const { code, screen } = await whileAsked(machine, args, () => writeFile(path, other));
    expect(screen).toContain('Continue from revision 2 ');
    expect([code, screen]).toEqual([9, expect.stringMatching(CHANGED)]);
    expect(await readFile(path)).toEqual(other);
    const again = await whileAsked(machine, args, async () => {});
    expect([again.code, again.screen]).toEqual([0, expect.stringContaining('with 2 devices.')]);
    expect(await namesOf(machine)).toEqual(['alice', 'bob']);
  });

  it('is taken over as it is then, and trust take-over says what it has cancelled', async () => {
    const { machine: former, path } = await createPaired();
    for (const name of ['server', 'other']) await former.amesh(['provision', '--name', name]);
    const next = await createMachine('next');
    const here = await createMachine();
    await cp(former.dir, here.dir, { recursive: true });
    for (const name of ['identity.json', 'keys', '.passphrase'])
      await cp(join(next.dir, name), join(here.dir, name), { recursive: true, force: true });
    const keyOf = async (machine: Machine) =>
      JSON.parse((await machine.amesh(['whoami', '--json'])).stdout).publicKey as string;
    const env = { AMESH_OWNER_KEY: `${await keyOf(former)},${await keyOf(next)}` };
    const { tokens } = await former.allowList();
    const [, other] = tokens;
    const cancel = async () => {
      await former.amesh(['tokens', 'cancel', 'server']);
      await cp(path, join(here.dir, 'allow_list.json'));
    };
    const { code, screen } = await whileAsked(here, ['trust', 'take-over', '--json'], cancel, env);
    expect(screen).toContain('2 provision tokens will be cancelled.');
    const [, json = ''] = /^(\{"ok":true.*\})/m.exec(screen) ?? [];
    expect([code, JSON.parse(json)]).toMatchObject([0, { from: 5, revision: 6, cancelled: [other?.id] }]);
  });

  it('leads revoke to say what to do elsewhere about the roles that the device has then', async () => {
    const { machine, add } = await createPaired();
    await add('bob');
    const [alice] = (await machine.allowList()).devices;
    const asTarget = ['trust', 'add', '--role', 'target', '--host', 'alice.example'];
    const line = `amesh-p256 ${alice?.publicKey} alice`;
    const { code, screen } = await whileAsked(machine, ['revoke', 'alice'], () =>
      machine.amesh([...asTarget, line]),
    );
    expect(code).toBe(0);
    expect(screen).toContain('On that machine, if this one may still call it, run:');
    expect(await namesOf(machine)).toEqual(['bob']);
  });
});

describe.skipIf(!hasScript)('a question about the keys of this machine', () => {
  const asked = async (...args: string[]) => {
    const [machine, target] = [await createMachine('laptop'), await createMachine('orders')];
    const line = (await target.amesh(['trust', 'export'])).stdout.trim();
    await machine.amesh(['trust', 'add', '--role', 'target', '--host', 'orders:3000', line, '--yes']);
    const { formerId, nextId } = objectOf(await machine.amesh(['rotate', '--json']));
    const { code, screen } = await whileAsked(machine, ['rotate', ...args], async () => {});
    return { formerId, nextId, code, screen };
  };

  it('names the targets that rotate finish --force gives up', async () => {
    const { formerId, nextId, code, screen } = await asked('finish', '--force');
    expect(screen).toContain(
      `Remove the former key (${formerId})? "orders" has not accepted ${nextId}, and will refuse this machine.`,
    );
    expect(code).toBe(0);
  });

  it('names both keys of rotate withdraw', async () => {
    const { formerId, nextId, screen } = await asked('withdraw');
    expect(screen).toContain(`Go back to the former key (${formerId}), and remove the next one (${nextId})?`);
  });

  it('is not asked if there is no rotation', async () => {
    const machine = await createMachine('laptop');
    for (const args of [['finish', '--force'], ['withdraw']]) {
      const { stderr } = await machine.amesh(['rotate', ...args]);
      expect(stderr).toContain('No key is being replaced');
    }
  });
});
