import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();
// biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
const OBEYED = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\u3164\ufeff]/;

/** What a peer may call itself, and what it is called here. */
const NAMES: [attack: string, name: string, stored: string][] = [
  ['ANSI colours', 'a\u001b[31mred\u001b[0m', 'ared'],
  ['a screen that is cleared', '\u001b[2J\u001b[Hfake', 'fake'],
  ['a window title', '\u001b]0;owned\u0007name', 'name'],
  ['a hyperlink', '\u001b]8;;http://evil.example\u001b\\click\u001b]8;;\u001b\\', 'click'],
  ['eight-bit control sequences', '\u009b31mred\u009d0;x\u009cb', 'redb'],
  ['bidirectional overrides', 'alice\u202egpj.exe\u202c', 'alicegpj.exe'],
  ['bidirectional isolates', '\u2066a\u2069', 'a'],
  ['characters of no width', 'a\u200bl\u200di\ufeffce', 'alice'],
  ['letters that show as nothing', '\u3164\u115f\u2800x', 'x'],
  ['a carriage return', 'alice\rroot', 'malformed'],
  ['a line separator', 'alice\u2028✓ Paired', 'alice✓ Paired'],
  ['a tab', 'a\tb', 'a b'],
  ['a null byte', 'a\u0000b', 'ab'],
  ['a backspace', 'root\b\b\b\bjoe', 'rootjoe'],
  ['what looks like an id', 'am_cOixWcOdI8-pLh4P', 'device am_cOixWcOdI8-pLh4P'],
  ['what looks like an id once it is cleaned', 'a\u200bM_cOixWcOdI8-pLh4P', 'device aM_cOixWcOdI8-pLh4P'],
  ['nothing at all', '\u200b', 'unnamed'],
  ['a flag', '--yes', '--yes'],
  ['a prototype', '__proto__', '__proto__'],
  ['emoji', '🚀 prod', '🚀 prod'],
];

describe.each(NAMES)('%s', (_, name, stored) => {
  it('is harmless as the name of a peer', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const { publicKey, deviceId } = await (await createMachine()).init('peer');
    const add = ['trust', 'add', '--role', 'controller'];
    const ran = await machine.amesh(add, { input: `amesh-p256 ${publicKey} ${name}\n` });
    expect(ran.stdout + ran.stderr).not.toMatch(OBEYED);
    if (stored === 'malformed') {
      expect(ran.code).toBe(2);
      return;
    }
    expect(ran.code).toBe(0);
    const listed = await machine.amesh(['list']);
    expect(listed.stdout).not.toMatch(OBEYED);
    expect(listed.stdout.split('\n')).toHaveLength(3);
    expect(objectOf(await machine.amesh(['list', '--json']))).toMatchObject({
      devices: [{ friendlyName: stored, deviceId }],
    });
    const revoked = await machine.amesh(['revoke', '--yes', '--', stored]);
    expect(revoked.code).toBe(0);
    expect(revoked.stderr).not.toMatch(OBEYED);
  });
});

it('refuses a name of 10 kB, from a peer and from init', async () => {
  const machine = await createMachine();
  const own = await machine.amesh(['init', '--name', 'n'.repeat(10_000)]);
  expect(own.code).toBe(0);
  expect(own.stderr).toContain(`Device   ${'n'.repeat(64)}  (am_`);
  expect(own.stderr).toContain('! The name was changed so that it is safe to print.');
  const { publicKey } = await (await createMachine()).init('peer');
  const add = ['trust', 'add', '--role', 'controller'];
  const peer = await machine.amesh(add, { input: `amesh-p256 ${publicKey} ${'n'.repeat(10_000)}` });
  expect(peer.code).toBe(2);
  expect(peer.stderr.length).toBeLessThan(500);
  const long = await machine.amesh(add, { input: `amesh-p256 ${publicKey} ${'m'.repeat(900)}` });
  expect(long.code).toBe(0);
  expect((await machine.allowList()).devices[0]?.friendlyName).toBe('m'.repeat(64));
});

it('cannot be revoked under the ID of another device that it took as its name', async () => {
  const machine = await createMachine();
  await machine.init('prod-api');
  const [victim, attacker] = [
    await (await createMachine()).init('v'),
    await (await createMachine()).init('a'),
  ];
  const add = ['trust', 'add', '--role', 'controller'];
  await machine.amesh([...add, `amesh-p256 ${attacker.publicKey} ${victim.deviceId}`]);
  await machine.amesh([...add, `amesh-p256 ${victim.publicKey} victim`]);
  await machine.amesh(['revoke', victim.deviceId, '--yes']);
  expect((await machine.allowList()).devices.map(({ deviceId }) => deviceId)).toEqual([attacker.deviceId]);
});

// The commands that amesh prints are made to be pasted, and a name in them comes from somebody else.
it.each([
  '$(touch pwned)',
  '`touch pwned`',
  '"; touch pwned; "',
  "'; touch pwned; '",
  '!! \\',
  '*',
  '-v',
  '--$HOME',
])('runs nothing when a printed command is pasted: %s', async (name) => {
  const machine = await createMachine();
  const { deviceId, publicKey } = await machine.init(name);
  const peer = await createMachine();
  await peer.init('peer');

  const { stderr } = await machine.amesh(['trust', 'export']);
  const command = stderr.split('\n').find((line) => line.includes('--role controller')) as string;
  const pasted = `amesh() { printf '%s\\n' "$@"; }\n${command}`;
  const { stdout } = await promisify(execFile)('sh', ['-c', pasted], { cwd: machine.dir });
  expect(stdout).toBe(`trust\nadd\n--role\ncontroller\namesh-p256 ${publicKey} ${name}\n`);

  const renamed = await machine.amesh(['rename', deviceId, '--', name]);
  const again = renamed.stderr.split('\n').find((line) => line.startsWith('    amesh rename ')) as string;
  const ran = await promisify(execFile)('sh', ['-c', `set -- ${again}\nprintf '%s\\n' "$@"`], {
    cwd: machine.dir,
  });
  const words = ran.stdout.trimEnd().split('\n');
  expect(words.filter((word) => word !== '--')).toEqual(['amesh', 'rename', deviceId, name]);
  await peer.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} before`]);
  expect((await peer.amesh(words.slice(1))).code).toBe(0);
  expect((await peer.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual([name]);
  await peer.amesh(['revoke', deviceId, '--yes']);

  const added = await peer.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} ${name}`]);
  expect(added.stderr).toContain(`Undo: ${peer.here(`amesh revoke ${deviceId}`)}\n`);
});
