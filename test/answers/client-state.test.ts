import { provenBy } from '@authmesh/sdk/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { askingClient, provingTarget, useProvingServer } from '../support/proving-server';

const server = useProvingServer();
beforeEach(() => server.reset());

/** Sends what is for an https URL over http, as behind a front that ends TLS. */
const behindTls = ((input: URL | string, init: RequestInit) =>
  fetch(String(input).replace('https:', 'http:'), init)) as typeof fetch;

/** A client that asks for a proof over https only since it tells its target something about its key. */
const telling = askingClient({
  fetch: behindTls,
  targetOf: () => ({ ...provingTarget, rotation: 'a.b.c' }),
});
const call = () => telling.fetch(server.origin.replace('http:', 'https:'));

describe('an answer whose proof is only for what moves the state of this machine', () => {
  it('may be a stream, which the program reads as usual', async () => {
    async function* events() {
      for (const text of ['data: 1\n\n', 'data: 2\n\n']) yield Buffer.from(text);
    }
    server.routes.set('/', () => ({ headers: { 'content-type': 'text/event-stream' }, body: events() }));
    const response = await call();
    expect(server.seen[0]?.headers['accept-signature']).toBeDefined();
    expect(await response.text()).toBe('data: 1\n\ndata: 2\n\n');
    expect(provenBy(response)).toMatchObject({ target: provingTarget.deviceId, body: false });
  });

  it('may have a body that a front end changes, which then does not count as proven', async () => {
    server.routes.set('/', () => ({ body: 'me@example.com' }));
    server.hands = (answer) => ({ ...answer, body: Buffer.from('[protected]') });
    const response = await call();
    expect(await response.text()).toBe('[protected]');
    expect(provenBy(response)?.body).toBe(false);
  });

  it('need not be proven at all', async () => {
    server.routes.set('/', () => ({ body: 'hello' }));
    server.hands = (answer) => ({ ...answer, status: 202 });
    const response = await call();
    expect([response.status, await response.text(), provenBy(response)]).toEqual([202, 'hello', undefined]);
  });
});
