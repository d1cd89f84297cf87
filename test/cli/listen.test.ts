import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createRelay } from '@authmesh/relay';
import { describe, expect, it } from 'vitest';
import { ownAddresses } from '../../src/cli/src/relay/addresses';
import { startRelay } from '../relay/client';
import { Command, type CommandOptions } from '../support/command';
import { useRelay } from '../support/use-relay';
import { type Machine, useMachines } from './amesh';

const createMachine = useMachines();
const relay = useRelay();

/** Codes that are right once in a million runs. */
const OTHERS = ['100000', '200000'];

/** Both commands off a terminal, until the target waits for the code. */
async function meet({
  listen = [],
  invite = [],
  name = 'prod-api',
  ...options
}: {
  name?: string;
  listen?: string[];
  invite?: string[];
} & Pick<CommandOptions, 'stdin' | 'isProcess'> = {}) {
  const [prod, laptop] = await Promise.all([createMachine(name), createMachine('laptop')]);
  const target = new Command(prod, ['listen', '--relay', relay.url, ...listen], options);
  const code = await target.until(/(?:^|"code":")(\d{6})\b/);
  const { isProcess = false } = options;
  const inviting = ['invite', code, '--yes', '--relay', relay.url, ...invite];
  const controller = new Command(laptop, inviting, { isProcess });
  const shown = await controller.until(/(?:^|"verificationCode":")(\d{6})\b/);
  return { prod, laptop, target, controller, code, shown };
}

const isEmpty = async (...machines: Machine[]) => {
  for (const machine of machines) expect(await machine.allowList()).toMatchObject({ hosts: [], devices: [] });
};

/** The relay of these tests listens on loopback, so no other machine reaches it. */
const commandsFor = (code: string, addresses = ['127.0.0.1'], url = relay.url) =>
  addresses.map((address) => `amesh invite ${code} --relay ${url.replace('127.0.0.1', address)}`);

function linesFor(code: string, addresses = ['127.0.0.1'], url = relay.url): string {
  const [own, other, ...more] = commandsFor(code, addresses, url);
  if (other === undefined) return `  On the calling machine run this whole line:   ${own}`;
  const lines = [`  On this machine run:          ${own}`, `  On another machine run:       ${other}`];
  return [...lines, ...more.map((command) => `                          or:   ${command}`)].join('\n');
}

describe.concurrent('off a terminal', () => {
  it.concurrent('the target decides what the caller may do', async () => {
    const { prod, target, controller, shown } = await meet({
      listen: ['--scope', 'orders:read', '--scope', 'reports:*,x'],
    });
    target.type(shown);
    expect([await target.ended, await controller.ended]).toEqual([0, 0]);
    expect(target.stderr).toContain('  It may do: orders:read, reports:*, x.\n');
    expect((await prod.allowList()).devices).toMatchObject([{ scopes: ['orders:read', 'reports:*', 'x'] }]);
  });

  it.concurrent.each(['מחשב', 'api של דנה 7', 'حاسوب', 'name \u{10d00}'])(
    'a name from right to left leaves the groups of the code in their order: %s',
    async (name) => {
      const { target, controller, shown } = await meet({ name });
      target.type(shown);
      expect([await target.ended, await controller.ended]).toEqual([0, 0]);
      const groups = `${shown.slice(0, 3)} ${shown.slice(3)}`;
      const lines = controller.stderr.split('\n').filter((line) => line.includes(groups));
      expect(lines).toEqual([`      ${groups}`]);
      expect(controller.stderr).toContain(`  Type this on "${name}":\n      ${groups}\n`);
    },
  );

  it.concurrent('both codes are alone on stdout, and stdin may stay open', async () => {
    const { prod, laptop, target, controller, code, shown } = await meet({
      listen: ['--host', 'bank.example'],
      isProcess: true,
    });
    target.type(shown);
    expect([await target.ended, await controller.ended]).toEqual([0, 0]);
    expect([target.stdout, controller.stdout]).toEqual([`${code}\n`, `${shown}\n`]);
    const inGroups = (digits: string) => `${digits.slice(0, 3)} ${digits.slice(3)}`;
    expect(target.stderr).toBe(`  Code  ${inGroups(code)}        expires in 1:00
${linesFor(code)}
✓ Connected. Only continue if YOU just ran \`amesh invite\` on the other device.
  Waiting for the code on the other screen, from stdin.
✓ VERIFIED ${inGroups(shown)}
✓ "laptop" may now call this machine.   Undo: ${prod.here('amesh revoke laptop')}
  Accepts requests for bank.example.
! No longer accepts requests for: localhost and other loopback names
  To keep them: ${prod.here('amesh config hosts bank.example,localhost:PORT')}
`);
    expect(controller.stderr).toContain(`✓ Found "prod-api" (bank.example)
  Type this on "prod-api":   ${inGroups(shown)}
✓ Trusted. This machine may now call "prod-api".   Undo: ${laptop.here('amesh revoke prod-api')}
! Nobody compared the codes, so the hosts that it reports were not stored: bank.example
  To add its host:  ${laptop.here('amesh trust add --role target --host bank.example')}`);
    expect((await laptop.allowList()).devices[0]?.hosts).toEqual([]);
    expect((await prod.allowList()).hosts).toEqual(['bank.example']);
    for (const { dir } of [prod, laptop]) {
      const passphrase = (await readFile(join(dir, '.passphrase'), 'utf8')).trim();
      expect(passphrase.length).toBeGreaterThan(20);
      expect(target.stderr + controller.stderr).not.toContain(passphrase);
    }
  });

  it.concurrent('--json prints each step as an object on one line, on both sides', async () => {
    const { prod, laptop, target, controller, code, shown } = await meet({
      listen: ['--json'],
      invite: ['--json', '--host', '10.0.0.7:80'],
    });
    target.type(`${shown.slice(0, 3)} ${shown.slice(3)}`);
    expect([await target.ended, await controller.ended]).toEqual([0, 0]);
    const [targetRow] = (await laptop.allowList()).devices;
    const [controllerRow] = (await prod.allowList()).devices;
    expect(target.objects).toEqual([
      { event: 'code', code, expiresInSeconds: 60, commands: commandsFor(code) },
      { event: 'connected' },
      { event: 'type_code' },
      { event: 'verified', verificationCode: shown },
      { ok: true, controller: controllerRow, replaced: [], hosts: [] },
    ]);
    expect(controller.objects).toEqual([
      {
        event: 'verification_code',
        verificationCode: shown,
        peer: { deviceId: targetRow?.deviceId, friendlyName: 'prod-api', hosts: [] },
      },
      { ok: true, target: targetRow },
    ]);
    expect(targetRow?.hosts).toEqual(['10.0.0.7']);
    expect(target.stderr + controller.stderr).toBe('');
  });

  it.concurrent('--quiet prints the codes and nothing else', async () => {
    const { target, controller, code, shown } = await meet({ listen: ['--quiet'], invite: ['--quiet'] });
    target.type(shown);
    expect([await target.ended, await controller.ended]).toEqual([0, 0]);
    expect([target.stdout, target.stderr]).toEqual([`${code}\n`, '']);
    expect([controller.stdout, controller.stderr]).toEqual([`${shown}\n`, '']);
  });

  it.concurrent('three lines are three tries, and both machines say that nothing has changed', async () => {
    const { prod, laptop, target, controller, code } = await meet({ listen: ['--host', 'api.example.com'] });
    for (const line of [code, 'not a code', ...OTHERS]) target.type(line);
    expect([await target.ended, await controller.ended]).toEqual([6, 6]);
    const shown = `${code.slice(0, 3)} ${code.slice(3)}`;
    expect(target.stderr).toContain(
      `✗ Does not match (2 tries left). Type the code on the CONTROLLER's screen, not the pairing code ${shown}.\n`,
    );
    expect(target.stderr).toContain(
      "✗ The code has 6 digits (2 tries left). Type the code on the CONTROLLER's screen.\n",
    );
    expect(target.stderr).toContain(
      "✗ Does not match (1 try left). Type the code on the CONTROLLER's screen.\n",
    );
    for (const { stderr } of [target, controller]) {
      expect(stderr).toContain('✗ The codes differ: somebody mistyped one, or somebody is in the middle.\n');
      expect(stderr).toMatch(/\n {2}No changes were made\.\n$/);
    }
    expect(target.stderr).toContain(
      `  This code cannot be used again. Start again with: ${prod.here(`amesh listen --relay ${relay.url} --host api.example.com`)}\n`,
    );
    expect(controller.stderr).toContain(
      `  This code cannot be used again. Start again on the other machine: amesh listen, and then here: ${laptop.here(`amesh invite CODE --yes --relay ${relay.url}`)}\n`,
    );
    await isEmpty(prod, laptop);
  });

  it.concurrent('the last object of a failure has its error', async () => {
    const { target, controller } = await meet({ listen: ['--json'], invite: ['--json'] });
    for (const line of ['abc', ...OTHERS, '300000']) target.type(line);
    expect([await target.ended, await controller.ended]).toEqual([6, 6]);
    expect(target.objects.slice(2)).toMatchObject([
      { event: 'type_code' },
      { event: 'wrong_code', triesLeft: 3, wasPairingCode: false, isCode: false },
      { event: 'type_code' },
      { event: 'wrong_code', triesLeft: 2, wasPairingCode: false, isCode: true },
      { event: 'type_code' },
      { event: 'wrong_code', triesLeft: 1, wasPairingCode: false },
      { event: 'type_code' },
      { ok: false, error: { code: 'codes_differ' } },
    ]);
    expect(controller.objects.at(-1)).toMatchObject({ ok: false, error: { code: 'codes_differ' } });
  });

  it.concurrent.each([
    ['that ends', 'pipe'],
    ['that is empty', 'ignore'],
  ] as const)('stdin %s ends it, and the other machine learns that', async (_, stdin) => {
    const { prod, laptop, target, controller } = await meet({ stdin, isProcess: true });
    if (stdin === 'pipe') target.end();
    expect([await target.ended, await controller.ended]).toEqual([1, 5]);
    expect(target.stderr).toContain('✗ stdin ended before the code from the other screen arrived.\n');
    expect(target.stderr).toMatch(/\n {2}No changes were made\.\n$/);
    expect(controller.stderr).toContain(
      '✗ The target disconnected.\n  Start again on both machines.\n  No changes were made.\n',
    );
    await isEmpty(prod, laptop);
  });

  it.concurrent.each(['SIGINT', 'SIGTERM'] as const)('%s ends it at each stage', async (signal) => {
    const lonely = await createMachine('prod-api');
    const args = ['listen', '--relay', relay.url, '--host', 'api.example.com'];
    const waiting = new Command(lonely, args, { isProcess: true });
    await waiting.until(/^\d{6}$/m);
    waiting.kill(signal);
    expect(await waiting.ended).toBe(130);
    expect(waiting.stderr).toMatch(/\n✗ Interrupted\. No changes were made\.\n$/);

    const { prod, laptop, target, controller } = await meet();
    target.kill(signal);
    expect([await target.ended, await controller.ended]).toEqual([130, 5]);
    expect(target.stderr).toMatch(/\n✗ Interrupted\. No changes were made\.\n$/);
    expect(controller.stderr).toContain('✗ The target disconnected.\n');

    const other = await meet();
    other.controller.kill(signal);
    expect([await other.controller.ended, await other.target.ended]).toEqual([130, 5]);
    expect(other.controller.stderr).toMatch(/\n✗ Interrupted\. No changes were made\.\n$/);
    expect(other.target.stderr).toContain(
      '✗ The controller disconnected.\n  Start again on both machines.\n  No changes were made.\n',
    );
    await isEmpty(lonely, prod, laptop, other.prod, other.laptop);
  });

  it.concurrent('a full machine keeps its controllers, and removes one with --yes', async () => {
    const [prod, old, laptop] = [
      await createMachine('prod'),
      await createMachine('old'),
      await createMachine('laptop'),
    ];
    const { publicKey } = JSON.parse((await old.amesh(['whoami', '--json'])).stdout);
    await prod.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} old`]);

    async function round(more: string[]) {
      const target = new Command(prod, ['listen', '--relay', relay.url, '--max-controllers', '1', ...more]);
      const code = await target.until(/^(\d{6})$/m);
      const controller = new Command(laptop, ['invite', code, '--yes', '--relay', relay.url]);
      target.type(await controller.until(/^(\d{6})$/m));
      return [await target.ended, await controller.ended, target.stderr, controller.stderr];
    }
    const [first, second, atTarget, atController] = await round([]);
    expect([first, second]).toEqual([8, 8]);
    expect(atTarget).toContain('✗ This machine keeps its existing controllers.\n');
    expect(atTarget).not.toContain('VERIFIED');
    expect(atTarget).toMatch(/\n {2}No changes were made\.\n$/);
    expect(atController).toContain('✗ The target declined.\n');
    expect((await prod.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual(['old']);

    const replaced = await round(['--yes']);
    expect(replaced.slice(0, 2)).toEqual([0, 0]);
    expect(replaced[2]).toContain(
      '✓ "old" may no longer call this machine.\n✓ "laptop" may now call this machine.',
    );
    expect((await prod.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual(['laptop']);
  });

  it.concurrent('a code that nobody uses', async () => {
    const hasty = await startRelay({ limits: { codeMs: 1000 } });
    const prod = await createMachine('prod-api');
    const ran = await prod.amesh([
      'listen',
      '--relay',
      `ws://127.0.0.1:${hasty.port}/ws`,
      '--host',
      'a.example',
    ]);
    expect(ran.code).toBe(4);
    const again = prod.here(`amesh listen --relay ws://127.0.0.1:${hasty.port}/ws --host a.example`);
    expect(ran.stderr).toContain(`✗ No controller joined within 1 s.\n  Run it again: ${again}\n`);
    expect(ran.stderr).toMatch(/\n {2}No changes were made\.\n$/);
    await isEmpty(prod);
    await hasty.relay.close();
  });

  it.concurrent('a port that is taken', async () => {
    const taken = createServer().listen(0);
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const prod = await createMachine('prod-api');
    const ran = await prod.amesh(['listen', '--serve', '--port', String(port)]);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toBe(
      `✗ The relay cannot listen on port ${port}: EADDRINUSE.\n  Use another port: --port 3002\n  No changes were made.\n`,
    );
    taken.close();
  });

  it.concurrent('a relay on this machine that others can reach, too, has a line for them', async () => {
    const open = createRelay();
    const { port } = await open.listen(0, '0.0.0.0');
    const url = `ws://127.0.0.1:${port}/ws`;
    const prod = await createMachine('prod-api');
    const target = new Command(prod, ['listen', '--relay', url]);
    const code = await target.until(/^(\d{6})\b/m);
    const others = ownAddresses().filter((address) => !/[[l]/.test(address)); // without IPv6 and localhost
    expect(target.stderr).toContain(`${linesFor(code, ['127.0.0.1', ...others], url)}\n`);
    await open.close();
    await target.ended;
  });

  it.concurrent('--serve is a relay of its own, which ends with it', async () => {
    const [prod, laptop] = [await createMachine('prod-api'), await createMachine('laptop')];
    const target = new Command(prod, ['listen', '--serve', '--port', '0']);
    const code = await target.until(/^(\d{6})$/m);
    const port = await target.until(/amesh invite \d{6} --relay ws:\/\/\S+:(\d+)\/ws/);
    const controller = new Command(laptop, ['invite', code, '--yes', '--relay', `ws://127.0.0.1:${port}`]);
    target.type(await controller.until(/^(\d{6})$/m));
    expect([await target.ended, await controller.ended]).toEqual([0, 0]);
    const late = await laptop.amesh(['invite', code, '--yes', '--relay', `ws://127.0.0.1:${port}`]);
    expect(late.code).toBe(3);
  });
});

describe.concurrent('what cannot be meant', () => {
  it.concurrent.each([
    [['--max-controllers', '0'], '--max-controllers must be a whole number, at least 1.'],
    [['--max-controllers', 'two'], '--max-controllers must be a whole number, at least 1.'],
    [['--serve', '--relay', 'wss://r.example'], '--serve and --relay cannot be combined.'],
    [['--port', '3002'], '--port needs --serve.'],
    [
      ['--relay', 'https://r.example'],
      '--relay: The URL of a relay must begin with wss:// or ws://. Perhaps: wss://r.example/ws\n',
    ],
    [
      ['--relay', '10.0.0.3:3001'],
      '--relay: A relay must be a URL such as wss://relay.example.com/ws. Perhaps: ws://10.0.0.3:3001/ws\n',
    ],
    [
      ['--relay', 'localhost:3001'],
      '--relay: The URL of a relay must begin with wss:// or ws://. Perhaps: ws://localhost:3001/ws\n',
    ],
    [
      ['--relay', '[fd00::3]:3001'],
      '--relay: A relay must be a URL such as wss://relay.example.com/ws. Perhaps: ws://[fd00::3]:3001/ws\n',
    ],
    [
      ['--relay', 'r.example'],
      '--relay: A relay must be a URL such as wss://relay.example.com/ws. Perhaps: wss://r.example/ws\n',
    ],
    [['--relay', 'wss//r'], '--relay: A relay must be a URL such as wss://relay.example.com/ws.\n'],
    [['--host', 'a b'], '--host: '],
    [['--host', 'a..b'], '--host: "a..b" is not a host.'],
    [['--host', '1.2.3'], '--host: "1.2.3" is not a host.'],
    [['--host', '[0:0::1]'], '--host: "[0:0::1]" is not a host.'],
    [
      ['--host', Array.from({ length: 33 }, (_, i) => `${i}.example`).join()],
      '--host: one pairing can report at most 32',
    ],
  ])('%j', async (args, message) => {
    const ran = await (await createMachine('prod-api')).amesh(['listen', ...args]);
    expect(ran.stderr).toContain(`✗ ${message}`);
    expect(ran.code).toBe(2);
  });

  it.concurrent('without an identity', async () => {
    const machine = await createMachine();
    for (const args of [['listen'], ['invite', '482916', '--yes'], ['invite', '482916']]) {
      expect((await machine.amesh(args)).code).toBe(10);
    }
  });
});
