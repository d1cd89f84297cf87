import { type Device, inviteTarget, listenForController, openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { useMachines } from '../cli/amesh';
import { Command } from '../support/command';
import { codeOf, deferred, pair, type Trust, trustBetween, typist } from '../support/pairing';
import { useDevices } from '../support/use-devices';
import { useRelay } from '../support/use-relay';

const createDevice = useDevices();
const createMachine = useMachines();
const preload = new URL('kill-at-write.mjs', import.meta.url).href;
const relay = useRelay();

async function createNamed(name: string) {
  const machine = await createMachine(name);
  return { machine, device: await openDevice(machine.dir, {}) };
}

/** Whatever a crash has left, the next pairing works, and a lock that was left behind does not keep it long. */
async function heals(controller: Device, target: Device) {
  expect((await pair({ controller, target, relay: relay.url })).errors).toEqual({});
  expect(await trustBetween(controller, target)).toBe('paired');
}

describe.concurrent('a controller that is killed', () => {
  it.concurrent.each<[kill: string, left: Trust, target: string]>([
    ['before 1', 'none', 'peer_gone'],
    ['after 1', 'unconfirmed, none', 'peer_gone'],
    ['before 2', 'unconfirmed, trusted', 'ok'],
    ['after 2', 'paired', 'ok'],
  ])('%s. write of its list', async (KILL, left, end) => {
    const { machine, device: controller } = await createNamed('laptop');
    const target = await createDevice('prod-api');
    const [code, typed] = [deferred<string>(), deferred<string>()];
    const listening = listenForController({
      device: target,
      relay: relay.url,
      person: typist(code.resolve, typed.promise),
    }).then(() => 'ok', codeOf);
    const args = ['invite', await code.promise, '--yes', '--relay', relay.url];
    const command = new Command(machine, args, { preload, env: { KILL } });
    typed.resolve(await command.until(/^(\d{6})$/m));
    expect(await command.ended).toBeNull();
    expect(await listening).toBe(end);
    expect(await trustBetween(controller, target)).toBe(left);
    await heals(controller, target);
  });
});

describe.concurrent('a target that is killed', () => {
  it.concurrent.each<[kill: string, left: Trust]>([
    ['before 1', 'unconfirmed, none'],
    ['after 1', 'unconfirmed, trusted'],
  ])('%s. write of its list', async (KILL, left) => {
    const { machine, device: target } = await createNamed('prod-api');
    const controller = await createDevice('laptop');
    const args = ['listen', '--relay', relay.url, '--host', 'api.example.com'];
    const command = new Command(machine, args, { preload, env: { KILL } });
    const code = await command.until(/^(\d{6})$/m);
    const person = {
      showCode: (shown: string) => command.type(shown),
      confirm: async (shown: string) =>
        (await command.until(/VERIFIED (\d{3} \d{3})/)).replace(' ', '') === shown,
    };
    const inviting = inviteTarget({ device: controller, relay: relay.url, code, person }).then(
      () => 'ok',
      codeOf,
    );
    expect(await command.ended).toBeNull();
    expect(await inviting).toBe('pairing_unconfirmed');
    expect(await trustBetween(controller, target)).toBe(left);
    await heals(controller, target);
  });
});
