import { describe, expect, it } from 'vitest';
import { wrap } from '../../src/cli/src/words/wrap';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe('amesh status', () => {
  it('shows on one screen who this machine is, who may call it, whom it calls, and what is due', async () => {
    const machine = await createMachine();
    const { deviceId } = await machine.init('orders-api');
    const empty = await machine.amesh(['status']);
    expect(empty.code).toBe(0);
    expect(empty.stdout.split('\n')).toEqual([
      `I am         orders-api  (${deviceId})`,
      expect.stringMatching(/^key {10}Encrypted file; /),
      'proofs       servers here sign answers with the key of this machine',
      'hosts        localhost only',
      'may call me  nobody',
      'I may call   nobody',
      'due          nothing: every pairing is confirmed, and no device, lease, token or grant has ended or ends soon',
      '',
    ]);

    const laptop = await (await createMachine()).init('laptop');
    const target = await (await createMachine()).init('billing');
    await machine.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${laptop.publicKey} laptop`]);
    const asTarget = ['trust', 'add', '--role', 'target', '--host', 'billing.example'];
    await machine.amesh([...asTarget, `amesh-p256 ${target.publicKey} billing`]);
    await machine.amesh(['provision', '--name', 'worker']);
    const full = await machine.amesh(['status']);
    expect(full.stdout).toContain(`may call me  laptop  (${laptop.deviceId})  not seen yet\n`);
    expect(full.stdout).toContain(`I may call   billing  (${target.deviceId})  billing.example\n`);
    expect(full.stdout).toMatch(/^due {10}no machine has taken the token for "worker", which expires 2/m);
    expect(objectOf(await machine.amesh(['status', '--json']))).toMatchObject({
      deviceId,
      controllers: [{ deviceId: laptop.deviceId, lastSeenAt: null }],
      targets: [{ deviceId: target.deviceId }],
      due: [{ kind: 'token', name: 'worker' }],
    });
  });
});

describe('amesh rename', () => {
  it('gives a device in the list, or this machine itself, another name', async () => {
    const machine = await createMachine();
    const { deviceId } = await machine.init('orders-api');
    const laptop = await (await createMachine()).init('laptop');
    const other = await (await createMachine()).init('other');
    const add = ['trust', 'add', '--role', 'controller'];
    await machine.amesh([...add, `amesh-p256 ${laptop.publicKey} laptop`]);
    await machine.amesh([...add, `amesh-p256 ${other.publicKey} other`]);

    const renamed = await machine.amesh(['rename', 'laptop', 'alices-laptop']);
    expect(renamed.stderr).toContain(`✓ "laptop" is now called "alices-laptop" (${laptop.deviceId}).`);
    expect((await machine.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual([
      'alices-laptop',
      'other',
    ]);
    const shared = await machine.amesh(['rename', 'alices-laptop', 'other']);
    expect(shared).toMatchObject({ code: 0 }); // a name is a label
    expect(shared.stderr).toContain(
      `! There is already a device called "other" (${other.deviceId}). Commands need the ID of each.\n`,
    );
    const ambiguous = await machine.amesh(['rename', 'other', 'another']);
    expect(ambiguous.code).toBe(2);
    expect(ambiguous.stderr).toContain('2 devices are called "other"');
    await machine.amesh(['rename', laptop.deviceId, 'alices-laptop']);
    const { revision } = await machine.allowList();
    expect((await machine.amesh(['rename', 'nobody', 'x'])).stderr).toContain(
      'No device is called "nobody".',
    );
    expect((await machine.amesh(['rename', 'other', 'other'])).stderr).toContain('No changes were made.');
    expect((await machine.allowList()).revision).toBe(revision);

    const own = await machine.amesh(['rename', 'orders-api', 'orders\u001b[2J-eu']);
    expect(own.stderr).toContain('✓ This machine is now called "orders-eu".');
    expect(objectOf(await machine.amesh(['whoami', '--json']))).toMatchObject({
      deviceId,
      friendlyName: 'orders-eu',
    });
  });
});

describe('amesh complete', () => {
  it.each(['bash', 'zsh', 'fish', 'powershell'])('prints a script for %s', async (shell) => {
    const { code, stdout } = await (await createMachine()).amesh(['complete', shell]);
    expect(code).toBe(0);
    expect(stdout).toContain('amesh');
    expect(stdout.length).toBeGreaterThan(500);
  });

  it('knows the commands and the flags', async () => {
    const machine = await createMachine();
    const complete = (...words: string[]) => machine.amesh(['complete', '--', ...words], { isProcess: true });
    const commands = await complete('');
    for (const name of ['init', 'listen', 'invite', 'revoke', 'trust'])
      expect(commands.stdout).toMatch(new RegExp(`^${name}\\b`, 'm'));
    expect((await complete('trust', '')).stdout).toMatch(/^add\b/m);
    expect((await complete('init', '--')).stdout).toMatch(/^--name\b/m);
  });

  it('refuses another shell', async () => {
    const ran = await (await createMachine()).amesh(['complete', 'ksh']);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain('There is no completion for "ksh".');
  });
});

it('-v is --version', async () => {
  const machine = await createMachine();
  expect((await machine.amesh(['-v'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

describe('lines for a narrow terminal', () => {
  it.each([
    ['short', 'short', 40],
    ['one two three', 'one two\n  three', 9],
    ['  --name  a b c d e f', '  --name  a b c d e\n          f', 20],
    ['unbreakableunbreakable x', 'unbreakableunbreakable\n  x', 10],
  ])('%s', (line, wrapped, width) => expect(wrap(line, width).join('\n')).toBe(wrapped));
});
