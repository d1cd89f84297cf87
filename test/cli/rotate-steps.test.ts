import { EventEmitter, once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { FileStore, openDevice, readRotationFile } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { listen } from '../support/listen';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { hasTerminal, Terminal } from '../support/terminal';
import { BIN, type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const UNCHANGED = 'No changes were made.';

let close = async () => {};
afterEach(async () => {
  await close();
  close = async () => {};
});

/** A machine, and a target that accepts next keys by itself and answers at /slow only when it may. */
async function paired() {
  const [machine, target] = [await createMachine('laptop'), await createMachine('orders')];
  const slow = new EventEmitter();
  const arrived = once(slow, 'arrived');
  const mayAnswer = once(slow, 'answer');
  const verify = createAmesh({ dir: target.dir, env: {}, acceptRotation: 'auto' }).verify();
  const server = await listen((request, response) =>
    verify(request as never, response as never, async () => {
      if (request.url === '/slow') {
        slow.emit('arrived');
        await mayAnswer;
      }
      response.end('ok');
    }),
  );
  ({ close } = server);
  const lineOf = async (one: Machine) => (await one.amesh(['trust', 'export'])).stdout.trim();
  await target.amesh(['trust', 'add', '--role', 'controller', await lineOf(machine), '--yes']);
  const { authority, origin } = server;
  const host = ['--host', authority];
  await machine.amesh(['trust', 'add', '--role', 'target', ...host, await lineOf(target), '--yes']);
  return { machine, origin, slow: `${origin}/slow`, arrived, answer: () => slow.emit('answer') };
}

const keysOf = ({ dir }: Machine) => readdir(join(dir, 'keys'));

describe('a step of a rotation that fails after others', () => {
  it('leaves the key of the machine if finish waits for a target and the rotation is withdrawn, and claims nothing', async () => {
    const { machine, origin, slow, arrived, answer } = await paired();
    const { formerId } = objectOf(await machine.amesh(['rotate', origin, '--json']));
    const finishing = machine.amesh(['rotate', 'finish', slow], { isProcess: true });
    await arrived;
    const { code } = await machine.amesh(['rotate', 'withdraw', '--yes']);
    answer();
    const finished = await finishing;
    expect([code, finished.code]).toEqual([0, 1]);
    expect(finished.stderr).toBe(
      `✗ The rotation of this machine is being withdrawn.\n  Complete that: ${machine.here(`amesh rotate withdraw ${slow}`)}\n`,
    );
    const { identity } = await openDevice(machine.dir, {});
    expect(identity.deviceId).toBe(formerId);
    expect(await keysOf(machine)).toEqual([identity.key.ref.slice('keys/'.length)]);
  });

  it('does not begin if no target has the host of a URL', async () => {
    const { machine } = await paired();
    const before = await keysOf(machine);
    const wrong = ['http://orders.example/'];
    const begun = await machine.amesh(['rotate', ...wrong]);
    expect(begun.stderr).toContain('No target in the list has the host orders.example.');
    expect(begun.stderr).toContain(UNCHANGED);
    expect(await keysOf(machine)).toEqual(before);
    await machine.amesh(['rotate']);
    const withdrawn = await machine.amesh(['rotate', 'withdraw', ...wrong, '--yes']);
    expect(withdrawn.stderr).toContain(UNCHANGED);
    const rotation = await readRotationFile(new FileStore(machine.dir));
    expect(rotation).not.toHaveProperty('withdrawnAt');
  });
});

describe.skipIf(!hasTerminal)('the question whether instances have both keys', () => {
  const asks = /Do all of them have it\? \[y\/N\] /;
  const rotate = (machine: Machine, env: Record<string, string>) =>
    new Terminal([process.execPath, BIN, 'rotate'], machine.env(env));

  it('prints what they need after a no', async () => {
    const machine = await createMachine('api');
    const { publicKey } = (await openDevice(machine.dir, {})).identity;
    await machine.amesh(['rotate'], { env: { AMESH_OWNER_KEY: publicKey } });
    const { next } = (await readRotationFile(new FileStore(machine.dir))) ?? {};
    const both = `${publicKey},${next?.publicKey}`;
    const terminal = rotate(machine, { AMESH_OWNER_KEY: both });
    await terminal.until(asks);
    terminal.type('n\r');
    expect([await terminal.ended, terminal.screen]).toEqual([
      0,
      expect.stringContaining(`\n    AMESH_OWNER_KEY=${both}\n`),
    ]);
    expect((await openDevice(machine.dir, {})).identity.publicKey).toBe(publicKey);
  });

  describeWithRedis('if Redis has the list', () => {
    let redis: RedisServer;
    beforeAll(async () => {
      redis = await startRedis();
    });
    afterAll(() => redis?.stop());

    it('claims nothing at Ctrl+C, since the next key was made before it', async () => {
      const env = { AMESH_STORE_URL: redis.url };
      const machine = await createMachine();
      expect((await machine.amesh(['init', '--name', 'api'], { env })).code).toBe(0);
      const terminal = rotate(machine, env);
      await terminal.until(asks);
      terminal.type('\u0003');
      expect(await terminal.ended).toBe(130);
      expect(await keysOf(machine)).toHaveLength(2);
      expect(terminal.screen).toContain('Interrupted.');
      expect(terminal.screen).not.toContain(UNCHANGED);
    });
  });
});
