import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, allowScopes, openDevice, revokeDevice } from '@authmesh/sdk/admin';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error: an example in JavaScript
import { createApp } from '../../examples/mcp/app.mjs';
import { BIN, type Machine, useMachines } from '../cli/amesh';
import { type Listening, listen } from '../support/listen';

const machine = useMachines();
let server: Machine;
let laptop: Machine;
let laptopId: string;
let listening: Listening;
const requests: string[] = [];

beforeAll(async () => {
  [server, laptop] = [await machine(), await machine()];
  const [target, caller] = [await server.init('tickets'), await laptop.init('laptop')];
  laptopId = caller.deviceId;
  const app = createApp(createAmesh({ dir: server.dir, env: {} }));
  listening = await listen((req, res) => {
    requests.push(req.method ?? '');
    app(req, res);
  });
  const host = `localhost:${listening.port}`;
  const at = Math.floor(Date.now() / 1000);
  await (await openDevice(server.dir, {})).trust.update(async (draft) => {
    await addDevice(draft, { ...caller, role: 'controller', hosts: [], scopes: ['tickets:read'] }, at);
  });
  await (await openDevice(laptop.dir, {})).trust.update((draft) =>
    addDevice(draft, { ...target, role: 'target', hosts: [host] }, at),
  );
});
afterAll(() => listening?.close());

/** As an agent's configuration has it. */
const configuration = (port = listening.port) => ({
  command: process.execPath,
  args: [BIN, 'mcp', `http://localhost:${port}/mcp`],
  env: { AUTH_MESH_DIR: laptop.dir },
});

async function connect(port?: number) {
  const transport = new StdioClientTransport({ ...configuration(port), stderr: 'pipe' });
  let log = '';
  transport.stderr?.on('data', (chunk) => {
    log += chunk;
  });
  const client = new Client({ name: 'test', version: '1.0.0' });
  const errors: unknown[] = [];
  client.onerror = (error) => errors.push(error);
  await client.connect(transport);
  return { client, errors, log: () => log };
}

describe('amesh mcp as a process of the official client', () => {
  it('calls tools with the current scopes, and ends its session', async () => {
    const { client, errors, log } = await connect();
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual([
      'read_ticket',
      'close_ticket',
      'report',
    ]);
    expect(await client.callTool({ name: 'report' })).toMatchObject({ content: [{ text: '1 ticket' }] });
    const close = () => client.callTool({ name: 'close_ticket', arguments: { id: 7 } });
    expect(await close()).toMatchObject({ isError: true });
    const { trust } = await openDevice(server.dir, {});
    await trust.update((draft) => allowScopes(draft, laptopId, ['tickets:write']));
    await expect.poll(async () => (await close()).isError ?? false).toBe(false);
    await client.close();
    await expect.poll(() => requests.at(-1)).toBe('DELETE');
    expect([errors, log()]).toEqual([[], '']);
  });

  it('has no secret in its configuration', async () => {
    const text = JSON.stringify(configuration());
    for (const name of await readdir(laptop.dir)) {
      const content = await readFile(join(laptop.dir, name), 'utf8').catch(() => '');
      for (const [word] of content.matchAll(/[A-Za-z0-9_+/=-]{32,}/g)) expect(text).not.toContain(word);
    }
  });

  it('tells the client why it cannot begin: it does not know the server, or the server has revoked it', async () => {
    await expect(connect(1)).rejects.toThrow(
      /no target in the allow list of this machine has the host localhost:1/,
    );
    const { trust } = await openDevice(server.dir, {});
    await trust.update((draft) => revokeDevice(draft, laptopId, Math.floor(Date.now() / 1000)));
    const { fetch } = createAmesh({ dir: laptop.dir, env: {} });
    const url = `http://localhost:${listening.port}/mcp`;
    await expect.poll(async () => (await fetch(url, { answers: 'off' })).status).toBe(401);
    await expect(connect()).rejects.toThrow(/amesh list shows whether this device is a controller there/);
  });
});
