import { spawn, spawnSync } from 'node:child_process';
import { openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { newDevice } from '../support/list-document';
import { BIN, type Machine, useMachines } from './amesh';

const createMachine = useMachines();

const hasScript = spawnSync('script', ['--version']).stdout?.includes('util-linux') ?? false;

/** Runs the command on a pseudo-terminal and types when it asks, after what happens `before` that. */
async function onTerminal(
  machine: Machine,
  args: readonly string[],
  typed: string,
  env = {},
  before: () => Promise<void> = async () => {},
) {
  const command = [process.execPath, BIN, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: machine.env({ TERM: 'xterm', ...env }),
  });
  let screen = '';
  let answered = false;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text;
    if (answered || !/\[y\/N\] |machine: /.test(screen)) return;
    answered = true;
    void before().then(() => child.stdin.write(typed));
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, screen, asked: answered };
}

async function createPaired() {
  const machine = await createMachine();
  await machine.init('prod-api');
  const { publicKey } = await (await createMachine()).init('alice');
  const line = `amesh-p256 ${publicKey} alice`;
  await machine.amesh(['trust', 'add', '--role', 'controller', line]);
  return { machine, line };
}

const countOf = async (machine: Machine) => (await machine.allowList()).devices.length;

describe.skipIf(!hasScript)('on a terminal', () => {
  it.each(['y\r', 'YES\r'])('takes %j for yes', async (typed) => {
    const { machine } = await createPaired();
    const { code, screen } = await onTerminal(machine, ['revoke', 'alice'], typed);
    expect(screen).toMatch(/\? Revoke "alice" \(am_.{16}\), controller\? \[y\/N\] /);
    expect(screen).toContain('Revoked "alice"');
    expect(code).toBe(0);
    expect(await countOf(machine)).toBe(0);
  });

  it.each(['\r', 'n\r', 'yeah\r', 'ny\r', '\u0004'])('takes %j for no', async (typed) => {
    const { machine } = await createPaired();
    const { code, screen } = await onTerminal(machine, ['revoke', 'alice'], typed);
    expect(screen).toMatch(/^\S*✗\S* Cancelled\. No changes were made\./m); // on a line of its own
    expect(code).toBe(8);
    expect(await countOf(machine)).toBe(1);
  });

  it('revokes no device that called while it asked, and remembers when the others were revoked', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const { trust } = await openDevice(machine.dir, {});
    const now = () => Math.floor(Date.now() / 1000);
    const addedAt = now() - 200 * 86_400;
    const [alice, bob] = ['alice', 'bob'].map((friendlyName) => ({
      ...newDevice(undefined, friendlyName),
      addedAt,
    })) as [ReturnType<typeof newDevice>, ReturnType<typeof newDevice>];
    await trust.update(async (draft) => {
      for (const device of [alice, bob]) await draft.put(device);
    });
    const seen = async (times: [string, number][]) =>
      void (await trust.lastSeen.add(new Map(times), await trust.read()));
    await seen([alice, bob].map(({ deviceId }) => [deviceId, addedAt]));
    let calledAt = 0;
    const revoke = (before?: () => Promise<void>) =>
      onTerminal(machine, ['revoke', '--unused', '90d'], 'y\r', {}, before);
    const { code, screen } = await revoke(async () => {
      await new Promise((resolve) => setTimeout(resolve, 1100)); // the list counts in seconds
      calledAt = now();
      await seen([[alice.deviceId, calledAt]]);
    });
    expect(screen).toMatch(/\? Revoke "alice" \(am_.{16}\), "bob" \(am_.{16}\)\? \[y\/N\] /);
    expect(screen).toContain('Revoked 1 device. ');
    expect(screen).toContain(`"alice" (${alice.deviceId}) called in the meantime, so it was not revoked.`);
    expect(code).toBe(0);
    const { devices, tombstones } = await machine.allowList();
    expect(devices.map(({ friendlyName }) => friendlyName)).toEqual(['alice']);
    expect(tombstones).toMatchObject([{ deviceId: bob.deviceId }]);
    expect(tombstones[0]?.revokedAt).toBeGreaterThanOrEqual(calledAt); // so that no token from before counts

    await trust.update((draft) => draft.put(bob));
    await seen([[bob.deviceId, addedAt]]);
    const none = await revoke(() => seen([[bob.deviceId, now()]]));
    expect(none.screen).toContain('called in the meantime, so it was not revoked.');
    expect(none.screen).toContain('No changes were made.');
    expect(await countOf(machine)).toBe(2);
  });

  it('ends with 130 at Ctrl+C', async () => {
    const { machine } = await createPaired();
    const { code, screen } = await onTerminal(machine, ['revoke', 'alice'], '\u0003');
    expect(screen).toContain('Interrupted. No changes were made.');
    expect(code).toBe(130);
    expect(await countOf(machine)).toBe(1);
  });

  it('does not ask with --yes', async () => {
    const { machine } = await createPaired();
    const { code, asked } = await onTerminal(machine, ['revoke', 'alice', '--yes'], '');
    expect({ code, asked }).toEqual({ code: 0, asked: false });
  });

  it('says what a reset would lose', async () => {
    const { machine } = await createPaired();
    const { code, screen } = await onTerminal(machine, ['trust', 'reset'], 'n\r');
    expect(screen).toContain('The allow list is intact, with 1 device. Replace it with an empty one?');
    expect(code).toBe(8);
    expect(await countOf(machine)).toBe(1);
  });

  it('asks for the line if trust add has none', async () => {
    const { machine, line } = await createPaired();
    const other = await createMachine();
    await other.init('db');
    const { code, screen } = await onTerminal(other, ['trust', 'add', '--role', 'controller'], `${line}\r`);
    expect(screen).toContain('? Line of the other machine: ');
    expect(code).toBe(0);
    expect((await other.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual(['alice']);
    expect(await countOf(machine)).toBe(1);
  });

  it.each([
    ['y\r', 0, 2],
    ['\r', 8, 1],
  ])('asks before trust add adds a second device with the same name: %j', async (typed, code, count) => {
    const { machine } = await createPaired();
    const { publicKey } = await (await createMachine()).init('alice');
    const args = ['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} Alice`];
    const ran = await onTerminal(machine, args, typed);
    expect(ran.screen).toMatch(
      /\? There is already a device called "alice" \(am_.{16}\)\. Add another one with this name\? \[y\/N\] /,
    );
    expect([ran.code, await countOf(machine)]).toEqual([code, count]);
  });

  it('uses colour, unless told not to', async () => {
    const { machine } = await createPaired();
    const run = async (args: string[], env = {}) =>
      (await onTerminal(machine, ['revoke', 'nobody', ...args], '', env)).screen;
    expect(await run([])).toContain('\u001b[31m✗\u001b[39m No device is called "nobody".');
    for (const plain of [run(['--no-color']), run([], { NO_COLOR: '1' }), run([], { TERM: 'dumb' })]) {
      expect(await plain).toContain('✗ No device is called "nobody".');
      expect(await plain).not.toContain('\u001b[');
    }
  });
});
