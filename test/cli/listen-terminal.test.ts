import { describe, expect, it } from 'vitest';
import { Client } from '../relay/client';
import { newParty } from '../support/ceremony';
import { hostileController, hostileTarget } from '../support/hostile-peer';
import { deferred } from '../support/pairing';
import { hasTerminal, Terminal } from '../support/terminal';
import { useRelay } from '../support/use-relay';
import { BIN, type Machine, useMachines } from './amesh';

const createMachine = useMachines();
const relay = useRelay();

const run = (machine: Machine, ...args: string[]) =>
  new Terminal([process.execPath, BIN, ...args, '--relay', relay.url], machine.env());

/** Two people, until the one at the target is to type the code that the other one sees. */
async function meet({ listen = [] as string[], old = [] as string[] } = {}) {
  const [prod, laptop] = await Promise.all([createMachine('prod-api'), createMachine('laptop')]);
  for (const name of old) {
    const { publicKey } = await (await createMachine()).init(name);
    await prod.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} ${name}`]);
  }
  const target = run(prod, 'listen', '--host', 'api.example.com', ...listen);
  const code = await target.until(/amesh invite (\d{6})/);
  const controller = run(laptop, 'invite', code);
  const shown = await controller.until(/Type this on "prod-api": +(\d{3} \d{3})/);
  await target.until(/Code on the other screen: /);
  return { prod, laptop, target, controller, code, shown };
}

const isEmpty = async (...machines: Machine[]) => {
  for (const machine of machines) expect(await machine.allowList()).toMatchObject({ hosts: [], devices: [] });
};

describe.skipIf(!hasTerminal).concurrent('on two terminals', () => {
  it.concurrent('a no at the controller ends both, and nothing is saved', async () => {
    const { prod, laptop, target, controller, shown } = await meet();
    target.type(`${shown}\r`);
    await controller.until(/Does the target say VERIFIED \d{3} \d{3}\? \[y\/N\] /);
    controller.type('\r');
    expect([await controller.ended, await target.ended]).toEqual([8, 8]);
    expect(controller.screen).toContain('✗ Cancelled.\n  No changes were made.\n');
    expect(target.screen).toContain('✗ The controller declined.\n');
    expect(target.screen).toMatch(/\n {2}No changes were made\.\n$/);
    await isEmpty(prod, laptop);
  });

  it.concurrent('Ctrl+C at a question is reported to the other side', async () => {
    const first = await meet();
    first.target.type('\u0003');
    expect([await first.target.ended, await first.controller.ended]).toEqual([130, 5]);
    expect(first.target.screen).toContain('✗ Interrupted. No changes were made.');
    expect(first.controller.screen).toContain('✗ The target disconnected.');

    const second = await meet();
    second.target.type(`${second.shown}\r`);
    await second.controller.until(/\[y\/N\] /);
    second.controller.type('\u0003');
    expect([await second.controller.ended, await second.target.ended]).toEqual([130, 5]);
    expect(second.controller.screen).toContain('✗ Interrupted. No changes were made.');
    expect(second.target.screen).toContain('✗ The controller disconnected.');
    await isEmpty(first.prod, first.laptop, second.prod, second.laptop);
  });

  it.concurrent('the notice that somebody else tried the code appears above the question, and the typed text stays', async () => {
    const { target, controller, code, shown } = await meet();
    target.type(shown.slice(0, 3));
    await target.until(/Code on the other screen: \d{3}/);
    expect(await (await Client.open(relay.port)).join(code).next()).toEqual({
      type: 'error',
      code: 'code_used',
    });
    await target.until(
      /\n! A second device tried this code\. If your own `amesh invite` is not connected, press Ctrl\+C\.\n {2}Code on the other screen: \d{3}/,
    );
    target.type(`${shown.slice(3)}\r`);
    await controller.until(/\[y\/N\] /);
    controller.type('y\r');
    expect([await controller.ended, await target.ended]).toEqual([0, 0]);
  });

  it.concurrent('Enter alone is not a try, and the pairing code is distinguished from the other code', async () => {
    const { target, controller, code } = await meet();
    target.type('\r');
    await target.until(/Code on the other screen: *\n {2}Code on the other screen: /);
    target.type(`${code}\r`);
    await target.until(
      /✗ Does not match \(2 tries left\)\. Type the code on the CONTROLLER's screen, not the pairing code [\s\S]+other screen: $/,
    );
    target.type('abc\r');
    await target.until(/✗ The code has 6 digits \(2 tries left\)[\s\S]+other screen: $/);
    target.type('100000\r');
    await target.until(/1 try left[\s\S]+other screen: $/);
    target.type('200000\r');
    expect([await target.ended, await controller.ended]).toEqual([6, 6]);
  });

  it.concurrent('a URL is accepted as a host, and a text that is not a host is asked for again', async () => {
    const prod = await createMachine('prod-api');
    const asked = /\? Under which host will callers reach this machine\? \([^)]+\) $/;
    const listening = run(prod, 'listen');
    await listening.until(asked);
    listening.type('http://localhost:3000/api\r');
    await listening.until(
      /✗ The answer: "http:\/\/localhost:3000\/api" is not a host\.[^\n]+\n\? Under which host [^)]+\) $/,
    );
    listening.type('http://localhost:3000, API.example.com\r');
    const code = await listening.until(/amesh invite (\d{6})/);
    const laptop = await createMachine('laptop');
    const controller = run(laptop, 'invite', code);
    await controller.until(/✓ Found "prod-api" \(localhost:3000, api\.example\.com\)/);
    controller.type('\u0003');
    await Promise.all([controller.ended, listening.ended]);
  });

  it.concurrent('a full machine asks before it says VERIFIED', async () => {
    const { prod, target, controller, shown } = await meet({
      listen: ['--max-controllers', '1'],
      old: ['first', 'second'],
    });
    target.type(`${shown}\r`);
    await target.until(
      /\? The limit of controllers is reached\. Let "laptop" call this machine instead of "first" and "second"\? \[y\/N\] /,
    );
    expect(target.screen).not.toContain('VERIFIED');
    target.type('y\r');
    await controller.until(/\[y\/N\] /);
    controller.type('y\r');
    expect([await controller.ended, await target.ended]).toEqual([0, 0]);
    expect(target.screen).toContain('✓ "second" may no longer call this machine.\n');
    expect((await prod.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual(['laptop']);
  });

  it.concurrent('a full machine keeps its controllers after Enter', async () => {
    const { prod, target, controller, shown } = await meet({
      listen: ['--max-controllers', '1'],
      old: ['first'],
    });
    target.type(`${shown}\r`);
    await target.until(/instead of "first"\? \[y\/N\] /);
    target.type('\r');
    expect([await controller.ended, await target.ended]).toEqual([8, 8]);
    expect((await prod.allowList()).devices.map(({ friendlyName }) => friendlyName)).toEqual(['first']);
  });
});

describe.skipIf(!hasTerminal).concurrent('a peer with a hostile name', () => {
  const NAME = '\u001b[2J\u001b]0;owned\u0007evil\u202egpj.\n✓ VERIFIED 000 000\r\u009b31m';
  const STORED = 'evilgpj. ✓ VERIFIED 000 000';
  const SHOWN = 'evilgpj. ? VERIFIED ### ###';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there
  const OBEYED = /\u001b\[2J|\u001b\]|\u0007|\u202e|\u009b|\u001b\[31m/;

  it.concurrent('is harmless on the screen of a target', async () => {
    const prod = await createMachine('prod-api');
    const target = run(prod, 'listen', '--host', 'api.example.com');
    const code = await target.until(/amesh invite (\d{6})/);
    const client = await Client.open(relay.port);
    const peer = hostileController(client, code, await newParty('controller', NAME));
    const shown = await peer.verificationCode;
    await target.until(/Code on the other screen: /);
    target.type(`${shown}\r`);
    expect(await target.ended).toBe(0);
    expect(target.raw).not.toMatch(OBEYED);
    expect(target.screen).toContain(`✓ "${STORED}" may now call this machine.   Undo: `);
    expect((await prod.allowList()).devices[0]?.friendlyName).toBe(STORED);
  });

  it.concurrent('is harmless on the screen of a controller', async () => {
    const laptop = await createMachine('laptop');
    const client = await Client.open(relay.port);
    const code = await client.listen();
    const typed = deferred<string>();
    hostileTarget(client, code, await newParty('target', NAME), typed.promise);
    const controller = run(laptop, 'invite', code);
    typed.resolve(await controller.until(/Type this on ".+": +(\d{3} \d{3})/));
    await controller.until(/\[y\/N\] /);
    controller.type('y\r');
    expect(await controller.ended).toBe(0);
    expect(controller.raw).not.toMatch(OBEYED);
    expect(controller.screen).toContain(`✓ Found "${SHOWN}"\n! This is what the other machine calls itself.`);
    const beforeTheAnswer = controller.screen.slice(0, controller.screen.indexOf('[y/N]'));
    expect(beforeTheAnswer).not.toContain('000 000');
    // Of the three that the screen shows only one is of this program: the question itself.
    const verdicts = beforeTheAnswer.match(/VERIFIED [\d#]{3} [\d#]{3}/g);
    expect(verdicts).toEqual(['VERIFIED ### ###', 'VERIFIED ### ###', `VERIFIED ${await typed.promise}`]);
  });
});
