import { describe, expect, it } from 'vitest';
import { Client, pair } from '../relay/client';
import { Command } from '../support/command';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

describe.concurrent('amesh relay', () => {
  it.concurrent('runs in the foreground, needs no identity, and ends at Ctrl+C after its sessions', async ({
    expect,
  }) => {
    const command = new Command(await createMachine(), ['relay', '--port', '0', '--bind', '127.0.0.1']);
    const port = Number(await command.until(/listening on 127\.0\.0\.1:(\d+), path \/ws/));
    const [listener, joiner] = await pair(port);
    command.kill('SIGINT');
    // A signal takes a moment, and a client that connects before it is still served.
    const ready = async () => (await fetch(`http://127.0.0.1:${port}/ready`)).status;
    await expect.poll(ready, { timeout: 5000 }).toBe(503);
    const newcomer = (await Client.open(port)).send({ type: 'listen', v: 1 });
    expect(await newcomer.next()).toEqual({ type: 'error', code: 'draining' });
    listener.send({ type: 'msg', body: 'still there' });
    expect(await joiner.next()).toEqual({ type: 'msg', body: 'still there' });
    joiner.send({ type: 'bye' });
    expect(await command.ended).toBe(0);
    for (const line of command.stdout.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('event');
  });

  it.concurrent('says why it does not start', async () => {
    const machine = await createMachine();
    const first = new Command(machine, ['relay', '--port', '0', '--bind', '127.0.0.1']);
    const port = await first.until(/listening on 127\.0\.0\.1:(\d+)/);
    const second = await machine.amesh(['relay', '--port', port, '--bind', '127.0.0.1']);
    expect(second).toMatchObject({
      code: 1,
      stderr: `✗ The relay cannot listen on port ${port} of 127.0.0.1: EADDRINUSE.\n  Use another port: --port 3002\n  No changes were made.\n`,
    });
    await first.until(new RegExp(`amesh listen --relay ws://127.0.0.1:${port}/ws\n`));
    first.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    expect((await machine.amesh(['relay', '--port', '70000'])).code).toBe(2);
  });

  it.concurrent.each([
    [{ PORT: 'abc' }, 'PORT must be a number from 0 to 65535, not "abc".'],
    [
      { AMESH_TRUSTED_PROXIES: 'x' },
      'AMESH_TRUSTED_PROXIES: "x" is not a network such as 10.0.0.0/8 or fd00::/8.',
    ],
  ])('reports a wrong variable like a wrong command line: %j', async (env, message) => {
    const ran = await (await createMachine()).amesh(['relay', '--json'], { env });
    expect([ran.code, objectOf(ran).error]).toEqual([
      2,
      { code: 'usage', message, hint: 'Usage: amesh relay [--port <n>] [--bind <address>]' },
    ]);
  });
});

describe.concurrent('amesh config relay', () => {
  it.concurrent('is used if no other relay is named, and by every printed command', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    const saved = await machine.amesh(['config', 'relay', 'ws://127.0.0.1:1']);
    expect(saved).toMatchObject({ code: 0, stdout: 'ws://127.0.0.1:1/ws\n' });
    expect((await machine.amesh(['listen'])).stderr).toContain(
      'The relay at ws://127.0.0.1:1/ws did not respond',
    );
    const other = { AMESH_RELAY_URL: 'ws://127.0.0.1:2/ws' };
    expect((await machine.amesh(['listen'], { env: other })).stderr).toContain(
      'The relay at ws://127.0.0.1:2/ws',
    );
    expect(objectOf(await machine.amesh(['config', 'relay', '--json'], { env: other }))).toEqual({
      ok: true,
      relay: 'ws://127.0.0.1:2/ws',
      relayFrom: 'AMESH_RELAY_URL',
      changed: false,
    });
    const cleared = await machine.amesh(['config', 'relay', '--clear', '--json']);
    expect(objectOf(cleared)).toEqual({
      ok: true,
      relay: 'wss://relay.authmesh.dev/ws',
      relayFrom: 'default',
      changed: true,
    });
  });

  it.concurrent('saves nothing wrong, and nothing while something else is wrong', async () => {
    const machine = await createMachine();
    await machine.init('prod-api');
    for (const wrong of ['http://r.example', 'wss://u:p@r.example', 'wss://r.example/ws?x', 'r.example']) {
      expect((await machine.amesh(['config', 'relay', wrong])).code).toBe(2);
    }
    const env = { AMESH_RELAY_URL: 'http://r.example' };
    expect((await machine.amesh(['config', 'relay', 'wss://r.example/ws'], { env })).code).toBe(2);
    expect((await machine.amesh(['config', 'relay'])).stdout).toBe('wss://relay.authmesh.dev/ws\n');
  });
});
