import type { SignOptions } from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Backend, linesOf, type Proxied, type RunningProxy, type Seen, useProxied } from '../support/proxied';
import { exchange, head } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const createProxied = useProxied();

let proxied: Proxied;
let backend: Backend;
let proxy: RunningProxy;

beforeAll(async () => {
  proxied = await createProxied();
  backend = await new Backend().listen();
  backend.server.on('upgrade', (request, socket) => {
    backend.note(request);
    socket.end(head('HTTP/1.1 101 Switching Protocols', ['Connection: Upgrade', 'Upgrade: websocket']));
  });
  proxy = await proxied.protect(backend.origin);
}, 180_000);
afterAll(async () => {
  await proxy?.end();
  backend?.close();
});
beforeEach(() => {
  backend.seen.length = 0;
});

const own = { input: 'Signature-Input', signature: 'Signature' };

/** Sends a signed request, with changes to its lines, and returns what the server behind has seen. */
async function seenOf(
  change: (lines: string[]) => string[],
  options: SignOptions = {},
  headers = {},
): Promise<Seen> {
  const request = { method: 'GET', target: '/ok', headers };
  const signed = await signedRaw(proxied.signer, `127.0.0.1:${proxy.port}`, request, options);
  const { status } = await exchange(proxy.port, head(signed.line, change([...signed.headers])));
  expect([200, 101]).toContain(status);
  const [seen] = backend.seen;
  if (seen === undefined) throw new Error('The server has seen nothing.');
  return seen;
}

const RFC = { format: 'rfc9421' } as const;
/** Changes the text of `Signature-Input` and of `Signature`. */
const both = (change: (member: string) => string) => (lines: string[]) =>
  lines.map((line) =>
    line.replace(/^(signature(?:-input)?): (.*)$/i, (_, name, member) => `${name}: ${change(member)}`),
  );

const OTHER = {
  input: 'cdn=("@method" "x-id";sf);created=1;note="a, b;tag=\\"amesh\\"";tag="cdn"',
  signature: 'cdn=:AAAA:;from="a"',
};
const isInput = (member: string) => member.includes('=(');
const other = (member: string) => (isInput(member) ? OTHER.input : OTHER.signature);

describe('the server behind amesh proxy --protect', () => {
  it.each([
    ['in its own form', {}],
    ['in the form of RFC 9421', RFC],
  ])('sees nothing of the signature of amesh %s', async (_, options) => {
    const seen = await seenOf((lines) => lines, options);
    const names = seen.lines.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
    expect(names.filter((name) => /signature|^authorization$/.test(name))).toEqual([]);
    expect(names).toContain('authmesh-caller-id');
  });

  it.each<[string, (member: string) => string]>([
    ['before it', (member) => `${other(member)}, ${member}`],
    ['after it', (member) => `${member},\t${other(member)}`],
    [
      'on a line of its own',
      (member) => `${member}\r\n${isInput(member) ? own.input : own.signature}: ${other(member)}`,
    ],
    ['if that has another label', (member) => `${member.replace(/^amesh/, 'sig1')}, ${other(member)}`],
  ])('sees the signatures of others: %s', async (_, change) => {
    const seen = await seenOf(both(change), RFC);
    expect(linesOf(seen, own.input)).toEqual([OTHER.input]);
    expect(linesOf(seen, own.signature)).toEqual([OTHER.signature]);
  });

  it('sees a signature of somebody else that has the label amesh', async () => {
    const change = (member: string) =>
      `${member.replace(/^amesh/, 'a')}, ${other(member).replace(/^cdn/, 'amesh')}`;
    const seen = await seenOf(both(change), RFC);
    expect(linesOf(seen, own.input)).toEqual([OTHER.input.replace(/^cdn/, 'amesh')]);
    expect(linesOf(seen, own.signature)).toEqual([OTHER.signature.replace(/^cdn/, 'amesh')]);
  });

  it('sees the signatures of others as they came if amesh has signed in its own form', async () => {
    const lines = [
      `Signature-Input:  ${OTHER.input.replace(' "x-id"', '  "x-id"')}`,
      `Signature: ${OTHER.signature}`,
    ];
    const seen = await seenOf((signed) => [...signed, ...lines]);
    expect(linesOf(seen, own.input)).toEqual([OTHER.input.replace(' "x-id"', '  "x-id"')]);
    expect(linesOf(seen, own.signature)).toEqual([OTHER.signature]);
    expect(linesOf(seen, 'authorization')).toEqual([]);
  });

  it('sees nothing of it in the handshake of a WebSocket', async () => {
    const seen = await seenOf((lines) => [...lines, 'Connection: Upgrade', 'Upgrade: websocket'], RFC);
    expect([...linesOf(seen, own.input), ...linesOf(seen, own.signature)]).toEqual([]);
  });

  it('is asked for signatures by others, and not by amesh', async () => {
    const seen = await seenOf((lines) => lines, { asksForProof: true });
    expect(linesOf(seen, 'accept-signature')).toEqual([]);
    backend.seen.length = 0;
    const asks = 'amesh=("@status");created;nonce;keyid;tag="amesh-answer", cdn=("@status");keyid;tag="cdn"';
    const both = await seenOf((lines) => lines, {}, { 'accept-signature': asks });
    expect(linesOf(both, 'accept-signature')).toEqual(['cdn=("@status");keyid;tag="cdn"']);
  });
});
