import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRelay } from '@authmesh/relay';
import { createAmesh } from '@authmesh/sdk';
import { probeRelay } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Machine, useMachines } from '../cli/amesh';
import { Command, type CommandOptions } from '../support/command';

const ROOT = new URL('../../', import.meta.url).pathname;
const createMachine = useMachines();
const endings: (() => unknown)[] = [];
afterAll(() => Promise.all(endings.map((end) => end())));

/** Pairs two machines: the first shows a code with these arguments, the second runs the line that is printed there. */
async function pair(
  prod: Machine,
  laptop: Machine,
  host: string,
  args: string[],
  options: CommandOptions = {},
) {
  const target = new Command(prod, ['listen', '--yes', ...args], options);
  const line = await target.until(/run[^:]*: +amesh (invite \d{6} --relay .*)\n/);
  const words = line.split(' ').map((word) => word.replace(/^'(.*)'$/, '$1'));
  expect(line).toMatch(/ --relay 'ws:\/\/\[.+\]:\d+\/ws'$/); // a shell would take the brackets for a pattern
  const controller = new Command(laptop, [...words, '--yes', '--host', host], options);
  target.type(await controller.until(/^(\d{6})\b/));
  const ended = [await target.ended, await controller.ended];
  expect(ended, target.stderr + controller.stderr).toEqual([0, 0]);
  return { target, controller };
}

describe('on [::1]', () => {
  let relayPort: number;
  beforeAll(async () => {
    const relay = createRelay();
    endings.push(() => relay.close());
    relayPort = (await relay.listen(0, '::1')).port;
  });

  it('a relay and a server: pairing, signing, doctor', async () => {
    const [prod, laptop] = await Promise.all([createMachine('prod-api'), createMachine('laptop')]);
    const amesh = createAmesh({ dir: prod.dir, env: {} });
    const verify = amesh.verify();
    const server = createServer((request, response) => {
      void verify(request, response, () => response.end(request.headers.host));
    });
    server.listen(0, '::1');
    await once(server, 'listening');
    endings.push(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));
    const { port } = server.address() as AddressInfo;
    const host = `[::1]:${port}`;

    const url = `ws://[::1]:${relayPort}/ws`;
    await probeRelay(url);
    await pair(prod, laptop, host, ['--relay', url, '--host', host]);
    expect((await prod.allowList()).hosts).toEqual([host]);

    const caller = createAmesh({ dir: laptop.dir, env: {} });
    const response = await caller.fetch(`http://${host}/api/orders`);
    expect([response.status, await response.text()]).toEqual([200, host]);
    // URLs have one text for an address, and callers are sent to another server where they mean another port.
    for (const url of [`http://[0:0:0:0:0:0:0:1]:${port}/`, `http://[::0001]:${port}/`])
      expect((await caller.fetch(url)).status).toBe(200);

    const doctor = new Command(laptop, ['doctor', `http://${host}/api/orders`], {
      env: { AMESH_RELAY_URL: url },
    });
    expect(await doctor.ended).toBe(0);
    expect(doctor.stdout).toContain(`✓ relay     ${url} accepts connections`);
    expect(doctor.stdout).toContain(`✓ target    http://${host}/api/orders responds 200`);
  });

  it.each([
    [['config', 'hosts', '--add', '[::1]:3000'], 0, /^\[::1\]:3000$/m],
    [['config', 'hosts', '--add', '[::1]:443'], 0, /^\[::1\]$/m],
    [['config', 'relay', 'ws://[::1]:3001'], 0, /^ws:\/\/\[::1\]:3001\/ws$/m],
    [['config', 'hosts', '--add', '[0:0::1]:3000'], 2, /an IPv6 address must be in its shortest form/],
    [['config', 'hosts', '--add', '::1'], 2, /"::1" is not a host/],
    [['config', 'hosts', '--add', '[fe80::1%eth0]:3000'], 2, /A zone \(%eth0\) is valid on one machine only/],
    [['config', 'hosts', '--add', '[fe80::1%25eth0]'], 2, /A zone \(%eth0\)/],
    [['config', 'relay', 'ws://[fe80::1%25eth0]:3001/ws'], 2, /A zone \(%eth0\)/],
    [['listen', '--relay', 'ws://[fe80::1%eth0]:3001/ws'], 2, /A zone \(%eth0\)/],
    [['doctor', 'http://[fe80::1%eth0]:3000/'], 2, /A zone \(%eth0\)/],
    [['relay', '--port', '0', '--bind', '~/x'], 2, /--bind must be an address of this machine/],
  ])('amesh %j ends with %i', async (args, code, what) => {
    const machine = await createMachine('a');
    const ran = await machine.amesh(args as string[]);
    expect(ran.code).toBe(code);
    expect(ran.stdout + ran.stderr).toMatch(what);
  });

  it.each(['::1', '[::1]'])('amesh relay --bind %s prints a URL for the other machines', async (address) => {
    const command = new Command(await createMachine(), ['relay', '--port', '0', '--bind', address]);
    const url = await command.until(/listen --relay '(ws:\/\/\[::1\]:\d+\/ws)'/);
    await probeRelay(url);
    command.kill('SIGTERM');
    expect(await command.ended).toBe(0);
  });
});

/** Where there is IPv6 alone: an address beside ::1, and no 127.0.0.1. */
const NETWORK = `ip link set lo up && ip addr del 127.0.0.1/8 dev lo &&
  ip link add out type veth peer name far && ip link set out up && ip link set far up &&
  ip -6 addr add fd00:1::7/64 dev out nodad && echo ready && exec cat`;

const canUnshare = process.platform === 'linux' && spawnSync('unshare', ['-n', 'ip', 'link']).status === 0;
if (!canUnshare)
  console.warn('Tests on a machine of IPv6 alone are skipped: no network of its own (unshare, ip).');

describe.skipIf(!canUnshare && !process.env.CI)('on a machine with only IPv6', () => {
  let by: string[];
  beforeAll(async () => {
    const holder = spawn('unshare', ['-n', 'sh', '-c', NETWORK], { stdio: ['pipe', 'pipe', 'inherit'] });
    endings.push(() => holder.stdin.end());
    await once(holder.stdout, 'data');
    by = ['nsenter', '-t', String(holder.pid), '-n', '--'];
  });

  it('listen --serve, invite, signed requests and doctor work', async () => {
    const [prod, laptop] = await Promise.all([createMachine('prod-api'), createMachine('laptop')]);
    const { target } = await pair(
      prod,
      laptop,
      '[::1]:3000,[fd00:1::7]:3000',
      ['--serve', '--port', '3055', '--host', '[::1]:3000,[fd00:1::7]:3000'],
      { by },
    );
    expect(target.stderr).toContain("--relay 'ws://[fd00:1::7]:3055/ws'");

    const program = `import { createServer } from 'node:http';
      import { amesh } from '@authmesh/sdk';
      const verify = amesh.verify();
      createServer((request, response) => verify(request, response, () => response.end('in')))
        .listen(3000, () => console.log('up'));`;
    const [file = '', ...rest] = [...by, process.execPath, '--input-type=module', '-e', program];
    const server = spawn(file, rest, { cwd: ROOT, env: prod.env() as NodeJS.ProcessEnv });
    endings.push(() => server.kill());
    await once(server.stdout, 'data');
    const relay = new Command(await createMachine(), ['relay', '--port', '3056'], { by });
    const url = await relay.until(/listen --relay '(.+)'/);
    expect(url).toBe('ws://[fd00:1::7]:3056/ws');

    for (const host of ['[::1]:3000', '[fd00:1::7]:3000']) {
      const env = { AMESH_RELAY_URL: url };
      const doctor = new Command(laptop, ['doctor', `http://${host}/api`], { by, env });
      await doctor.ended;
      expect(doctor.stdout).toContain(
        `http://${host}/api responds 200, and refuses the same request without a signature`,
      );
      expect(doctor.stdout).toContain(`✓ relay     ${url} accepts connections`);
    }
    relay.kill('SIGTERM');
    expect(await relay.ended).toBe(0);
  });
});
