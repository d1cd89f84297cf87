import type { RequestListener } from 'node:http';
import { allowUnprovenBody } from '@authmesh/sdk';
import { createTestMesh, type TestCaller, type TestMesh } from '@authmesh/sdk/testing';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { beforeEach, describe, expect, it } from 'vitest';
// @ts-expect-error: an example in JavaScript
import { createApp } from '../../examples/mcp/app.mjs';

const URL_ = 'http://localhost/mcp';
let mesh: TestMesh;
let app: RequestListener;
beforeEach(async () => {
  mesh = await createTestMesh({ url: 'http://localhost' });
  app = createApp(mesh.amesh);
});
const reasons = () => mesh.refusals.map(({ code }) => code);

/** A client of the official SDK that sends as a caller. */
async function connect({ fetch }: Pick<TestCaller, 'fetch'>, sessionId?: string) {
  const transport = new StreamableHTTPClientTransport(new URL(URL_), {
    fetch: (url, init) => fetch(url, { ...(init as RequestInit), [allowUnprovenBody]: true }),
    ...(sessionId === undefined ? {} : { sessionId }),
  });
  const client = new Client({ name: 'test', version: '1.0.0' });
  await client.connect(transport as never);
  return { client, transport };
}
const textOf = async (client: Client, name: string) => {
  const { content, isError = false } = await client.callTool({ name, arguments: { id: 7 } });
  return [isError, (content as { text: string }[])[0]?.text];
};

describe('the official client and server over amesh', () => {
  it('call tools by scope, and a new scope applies in the middle of a session', async () => {
    const laptop = await mesh.asCaller(app as never, { name: 'laptop', scopes: ['tickets:read'] });
    const { client, transport } = await connect(laptop);
    expect(await textOf(client, 'read_ticket')).toEqual([false, 'The kettle is cold (open), for laptop']);
    expect(await textOf(client, 'close_ticket')).toEqual([
      true,
      'The tool close_ticket needs the scope tickets:write.',
    ]);
    laptop.allow('tickets:*');
    expect(await textOf(client, 'close_ticket')).toEqual([false, 'closed']);
    laptop.deny('tickets:*');
    laptop.allow('tickets:read');
    expect(await textOf(client, 'close_ticket')).toEqual([
      true,
      'The tool close_ticket needs the scope tickets:write.',
    ]);
    await transport.terminateSession();
    await client.close();
    expect(reasons()).toEqual([]);
  });

  it('stream progress, and prove the head of the stream', async () => {
    const laptop = await mesh.asCaller(app as never, { scopes: ['tickets:read'] });
    const { client } = await connect(laptop);
    const steps: number[] = [];
    await client.callTool({ name: 'report' }, undefined, {
      onprogress: ({ progress }) => steps.push(progress),
    });
    expect(steps).toEqual([1, 2, 3]);
    await client.close();
  });

  it('refuse a caller that does not sign, is revoked or lacks the scope', async () => {
    await expect(connect(mesh.asStranger(app as never) as never)).rejects.toThrow('unauthorized');
    const other = await mesh.asCaller(app as never, { scopes: ['orders:read'] });
    await expect(connect(other)).rejects.toThrow('scope_missing');
    const laptop = await mesh.asCaller(app as never, { scopes: ['tickets:read'] });
    const { client } = await connect(laptop);
    laptop.revoke();
    await expect(textOf(client, 'read_ticket')).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'unauthorized',
    });
    await client.close();
    expect([...new Set(reasons())]).toEqual(['missing_header', 'scope_missing', 'unknown_device']);
  });

  it('refuse a request that is repeated, and a body that somebody changed', async () => {
    const laptop = await mesh.addCaller({ scopes: ['tickets:read'] });
    const { client, transport } = await connect(laptop.to(app as never));
    const call = (id: number, name: string) =>
      JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: { id: 7 } } });
    const { url, method, headers } = await laptop.sign({
      url: '/mcp',
      method: 'POST',
      headers: {
        accept: 'application/json, text/event-stream',
        'content-type': 'application/json',
        'mcp-session-id': transport.sessionId as string,
      },
      body: call(71, 'read_ticket'),
    });
    const stranger = mesh.asStranger(app as never);
    const send = (body: string) =>
      stranger.fetch(url, { method, headers: Object.fromEntries(headers), body });
    expect((await send(call(71, 'close_ticket'))).status).toBe(401);
    expect((await send(call(71, 'read_ticket'))).status).toBe(401); // the nonce was claimed by the forged one
    expect(reasons()).toEqual(['content_digest_mismatch', 'replay_detected']);
    await client.close();
  });

  it('keep a session for the caller that began it', async () => {
    const laptop = await mesh.asCaller(app as never, { scopes: ['tickets:read'] });
    const thief = await mesh.asCaller(app as never, { scopes: ['tickets:read'] });
    const { client, transport } = await connect(laptop);
    const stolen = { 'mcp-session-id': transport.sessionId as string, accept: 'text/event-stream' };
    expect((await thief.fetch('/mcp', { headers: stolen })).status).toBe(404);
    expect((await thief.fetch('/mcp', { method: 'DELETE', headers: stolen })).status).toBe(404);
    expect(await textOf(client, 'read_ticket')).toMatchObject([false, expect.any(String)]);
    await client.close();
  });

  it('let a caller have 20 sessions, and another one in place of one that ended', async () => {
    const laptop = await mesh.asCaller(app as never, { scopes: ['tickets:read'] });
    const open = [];
    for (let i = 0; i < 20; i++) open.push(await connect(laptop));
    await expect(connect(laptop)).rejects.toThrow('too many sessions');
    await open[0]?.transport.terminateSession();
    open.push(await connect(laptop));
    for (const { client } of open) await client.close();
  });
});
