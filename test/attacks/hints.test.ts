import type { RequestView } from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { spellingsOf } from '../../src/core/hints/spellings';
import { createMachines, type Machines } from '../support/machines';
import { signedRaw } from '../support/signed-raw';

const HOST = 'api.example.com';
const OTHER = 'other.example.com';

let machines: Machines;
beforeAll(async () => {
  machines = await createMachines();
});
beforeEach(() => void machines.refusals.splice(0));
afterAll(() => machines?.remove());

/** A request that was signed for one place and has come to another. */
async function sentOn(
  from: { authority: string; target: string },
  to: { authority: string; target: string },
  headers: Readonly<Record<string, string>> = {},
): Promise<RequestView> {
  const { headers: lines, body } = await signedRaw(machines.signer, from.authority, from);
  const signed = lines.slice(1).map((line) => {
    const colon = line.indexOf(': ');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
  });
  return { ...to, method: 'GET', headers: { ...Object.fromEntries(signed), ...headers, host: HOST }, body };
}

describe('what strangers make of the hints in the log', () => {
  it('a server that forwards a request that it received: its host is not recommended', async () => {
    const verifier = machines.targetWith({ hosts: [HOST] }).verifier();
    const view = await sentOn(
      { authority: OTHER, target: '/orders' },
      { authority: HOST, target: '/orders' },
      { 'x-forwarded-host': OTHER },
    );
    expect((await verifier.verify(view)).ok).toBe(false);
    const [refusal] = machines.refusals;
    expect(refusal?.detail).toBe(`The signature is valid for the host ${OTHER}.`);
    expect(refusal?.fix).toMatch(/^If other\.example\.com is another server, .* change nothing here\./);
  });

  it('a host of this server is recommended as before', async () => {
    const verifier = machines.targetWith({ hosts: [HOST, OTHER] }).verifier();
    const view = await sentOn(
      { authority: OTHER, target: '/orders' },
      { authority: HOST, target: '/orders' },
    );
    expect((await verifier.verify(view)).ok).toBe(false);
    expect(machines.refusals[0]?.fix).toMatch(/^A proxy replaced it with api\.example\.com\./);
  });

  it('many verifiers, such as one for each route, do not bypass the limit of ten at the same time', async () => {
    const amesh = machines.targetWith({ hosts: [HOST] });
    const startedAt = performance.now();
    for (let i = 0; i < 40; i++) {
      const at = { authority: HOST, target: '/orders' };
      expect((await amesh.verifier().verify(await sentOn(at, { ...at, target: '/orders/' }))).ok).toBe(false);
    }
    const explained = machines.refusals.filter(({ detail }) => detail.includes('is right for'));
    expect(machines.refusals).toHaveLength(40);
    const seconds = Math.ceil((performance.now() - startedAt) / 1000);
    expect(explained.length).toBeLessThanOrEqual(10 + seconds);
  });

  it('a prefix that would end the quotes around the code to copy is not tried', () => {
    const line = { method: 'GET', authority: HOST, path: '/orders', query: '?' };
    for (const prefix of ["/x',evil:'", '/x`', '/x\\']) {
      const view = {
        method: 'GET',
        target: '/orders',
        authority: HOST,
        headers: { 'x-forwarded-prefix': prefix },
      };
      const paths = [...spellingsOf(line, view, [])].map((spelling) => spelling.line.path);
      expect(paths).not.toContain(`${prefix}/orders`);
      expect(paths).toContain('/api/orders');
    }
  });
});
