import { afterEach, describe, expect, it } from 'vitest';
import { hasTerminal, Terminal } from '../support/terminal';
import { BIN, type Machine, useMachines } from './amesh';

const createMachine = useMachines();
const terminals: Terminal[] = [];
afterEach(() => {
  for (const terminal of terminals.splice(0)) terminal.kill();
});

function onTerminal(machine: Machine, words: readonly string[]): Terminal {
  const terminal = new Terminal(words, machine.env());
  terminals.push(terminal);
  return terminal;
}

/** Starts a command once its first line was typed: all behind that line lies in the terminal before the command asks. */
function typedAhead(machine: Machine, args: readonly string[], typed: string): Terminal {
  const words = ['sh', '-c', 'read -r _ && exec "$@"', 'sh', process.execPath, BIN, ...args];
  const terminal = onTerminal(machine, words);
  terminal.type(`start\r${typed}`);
  return terminal;
}

async function createPaired(): Promise<Machine> {
  const machine = await createMachine('prod-api');
  const { publicKey } = await (await createMachine()).init('alice');
  await machine.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} alice`]);
  return machine;
}

const countOf = async (machine: Machine) => (await machine.allowList()).devices.length;

describe.skipIf(!hasTerminal)('text that is typed ahead on a terminal', () => {
  it('does not say yes to VERIFIED, which nobody has seen yet', async () => {
    const [laptop, prod] = [await createMachine('laptop'), await createMachine('prod-api')];
    const listen = ['listen', '--serve', '--port', '0', '--host', 'a.example'];
    const target = onTerminal(prod, [process.execPath, BIN, ...listen]);
    // Behind the pairing code already: it would be the first wrong try.
    const command = await target.until(/this whole line: +amesh (invite .+)/);
    target.type('111111\r');
    await target.until(/111111/);
    const controller = onTerminal(laptop, [process.execPath, BIN, ...command.split(' ')]);
    const code = await controller.until(/Type this on ".+": +(\d{3} \d{3})/);
    await controller.until(/waiting \d:\d\d/); // what is typed shows behind it
    controller.type('y\ry\ry');
    await controller.until(/waiting \d:\d\d(?:y\n.*)+y\n/);
    await target.until(/Code on the other screen: /);
    target.type(`${code}\r`);
    await target.until(/VERIFIED \d{3} \d{3}/);
    await controller.until(/Does the target say VERIFIED \d{3} \d{3}\? \[y\/N\] /);
    controller.type('n\r');
    expect([await controller.ended, await target.ended]).toEqual([8, 8]);
    expect([await countOf(laptop), await countOf(prod)]).toEqual([0, 0]);
    expect(target.screen).not.toContain('Does not match');
  });

  it.each([[['revoke', 'alice']], [['revoke', '--all-controllers']], [['trust', 'reset']]])(
    'does not answer %j',
    async (args) => {
      const machine = await createPaired();
      const terminal = typedAhead(machine, args, 'y\ry');
      await terminal.until(/\[y\/N\] /);
      terminal.type('\r'); // which would end a "y" that was left
      expect(await terminal.ended).toBe(8);
      expect(await countOf(machine)).toBe(1);
    },
  );

  it('does not drop localhost', async () => {
    const machine = await createPaired();
    const terminal = typedAhead(machine, ['config', 'hosts', '--add', 'api.example.com'], 'y\r');
    await terminal.until(/To keep localhost: .* amesh config hosts api\.example\.com,localhost:PORT/);
    await terminal.until(/\? Drop localhost\? \[y\/N\] /);
    terminal.type('\r');
    expect(await terminal.ended).toBe(8);
    expect((await machine.allowList()).hosts).toEqual([]);
  });

  it('is not a line for trust add, and not a host for listen', async () => {
    const machine = await createMachine('prod-api');
    const { publicKey } = await (await createMachine()).init('mallory');
    const adding = typedAhead(
      machine,
      ['trust', 'add', '--role', 'controller'],
      `amesh-p256 ${publicKey} m\r`,
    );
    await adding.until(/Line of the other machine: /);
    adding.type('\r');
    expect(await adding.ended).toBe(2);
    expect(await countOf(machine)).toBe(0);

    const listening = typedAhead(machine, ['listen', '--serve', '--port', '0'], 'evil.example\r');
    await listening.until(/Under which host .+\) /);
    listening.type('\u0003');
    expect(await listening.ended).toBe(130);
  });
});
