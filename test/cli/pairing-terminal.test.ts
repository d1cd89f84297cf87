import { describe, expect, it } from 'vitest';
import { hasTerminal, pairOnTerminals, Terminal } from '../support/terminal';
import { BIN, useMachines } from './amesh';

const createMachine = useMachines();

describe.skipIf(!hasTerminal)('two people at two terminals', () => {
  it('are asked what is not known, and see how much time is left', async () => {
    const [laptop, prod] = [await createMachine(), await createMachine()];
    await laptop.init('laptop');
    await prod.init('prod-api');
    const target = new Terminal([process.execPath, BIN, 'listen', '--serve', '--port', '0'], prod.env());
    await target.until(/\? Under which host will callers reach this machine\? .+ localhost only\) /);
    target.type('api.example.com\r');
    await target.until(/ . Waiting… (?:1:00|0:5\d) {3}Ctrl\+C cancels, nothing is saved/);
    const controller = await pairOnTerminals(
      target,
      (command) => new Terminal([process.execPath, BIN, ...command.split(' ').slice(1)], laptop.env()),
    );
    expect([await controller.ended, await target.ended]).toEqual([0, 0]);
    expect(controller.raw).toMatch(/ . waiting (?:2:00|1:5\d)/);
    const url = 'https://api.example.com/';
    expect(controller.screen).toContain(
      `  Try:  ${laptop.here(`amesh doctor ${url}`)}\n        await amesh.fetch('${url}')\n`,
    );
    expect(target.screen).toContain('  Accepts requests for api.example.com.\n');

    const [{ friendlyName, hosts, roles, unconfirmed } = {}] = (await laptop.allowList()).devices;
    expect({ friendlyName, hosts, roles, unconfirmed }).toEqual({
      friendlyName: 'prod-api',
      hosts: ['api.example.com'],
      roles: ['target'],
      unconfirmed: undefined,
    });
    expect(await prod.allowList()).toMatchObject({
      hosts: ['api.example.com'],
      devices: [{ friendlyName: 'laptop', roles: ['controller'] }],
    });
  });

  it('end it with Ctrl+C, and nothing is saved', async () => {
    const prod = await createMachine();
    await prod.init('prod-api');
    const listen = [process.execPath, BIN, 'listen', '--serve', '--port', '0', '--host', 'a.example'];
    const target = new Terminal(listen, prod.env());
    await target.until(/Waiting…/);
    target.type('\u0003');
    expect(await target.ended).toBe(130);
    expect(target.screen).toContain('✗ Interrupted. No changes were made.');
    expect(await prod.allowList()).toMatchObject({ hosts: [], devices: [] });
  });
});
