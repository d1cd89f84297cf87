import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Amesh } from '@authmesh/sdk';
import FormDataPackage from 'form-data';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { useKnownTarget } from '../support/use-known-target';
import { type Content, clientsWith, type HttpClient, type Recipes } from './clients';

const known = useKnownTarget();
let amesh: Amesh;
vi.mock('@authmesh/sdk', async (load) => ({
  ...(await load<typeof import('@authmesh/sdk')>()),
  // The instance of this machine, as recipes import it: here that of the test.
  amesh: {
    fetch: (...args: Parameters<Amesh['fetch']>) => amesh.fetch(...args),
    sign: (...args: Parameters<Amesh['sign']>) => amesh.sign(...args),
  },
}));
const recipes: Recipes = {
  axios: () => axiosRecipe,
  got: () => gotRecipe,
  node: () => nodeRecipe,
};
const { api: axiosRecipe } = await import('./axios');
const { api: gotRecipe } = await import('./got');
const { signedRequest: nodeRecipe } = await import('./node-http');

beforeEach(() => {
  amesh = known.callerWith(); // reads the list anew
});

const names = clientsWith({ sign: () => {} } as never, recipes).map(({ name }) => name);
const clientOf = (name: string) =>
  clientsWith(amesh, recipes).find((client) => client.name === name) as HttpClient;

/** The headers of a signature that came. */
const signatureIn = ({ headers }: IncomingMessage) =>
  Object.keys(headers).filter((header) => /^(?:authorization|signature.*|authmesh-.*)$/.test(header));
const nonceIn = ({ headers }: IncomingMessage) => /nonce="([^"]+)"/.exec(headers.authorization ?? '')?.[1];

const elsewhere: Listening[] = [];
const seenElsewhere: IncomingMessage[] = [];
afterAll(() => Promise.all(elsewhere.map((server) => server.close())));

// The recipes for others say to leave it out.
it.each(names.filter((name) => !/^(?:got|node:http)/.test(name)))(
  '%s sends a stream with a Content-Digest of the program',
  async (name) => {
    const server = await known.serve();
    const digest = createHash('sha256').update('first, second').digest('base64');
    const headers = { 'content-digest': `sha-256=:${digest}:` };
    const content: Content = { kind: 'stream', chunks: ['first, ', 'second'] };
    const sent = clientOf(name).send(server.origin, { method: 'PUT', headers, content });
    expect(await sent).toMatchObject({ status: 200 });
    expect(server.arrived.map(({ body }) => String(body))).toEqual(['first, second']);
  },
);

describe.each(names)('%s', (name) => {
  const form = new FormData();
  form.set('note', 'grüße ☃');
  form.set('file', new Blob([new Uint8Array([0, 255, 13, 10])], { type: 'image/png' }), 'a.png');
  const binary = new Uint8Array([0, 255, 254, 13, 10, 0, 128]);

  it.each<[string, string, Content, RegExp, string | RegExp]>([
    [
      'JSON',
      'POST',
      { kind: 'json', value: { a: 'ä ☃', n: [1.5] } },
      /^application\/json/,
      '{"a":"ä ☃","n":[1.5]}',
    ],
    [
      'a form',
      'POST',
      { kind: 'form', fields: { a: '1', b: ' x&ä' } },
      /^application\/x-www-form-urlencoded/,
      'a=1&b=+x%26%C3%A4',
    ],
    [
      'a multipart form',
      'POST',
      { kind: 'multipart', form },
      /^multipart\/form-data; boundary=/,
      /name="note"\r\n\r\ngrüße ☃\r\n/,
    ],
    ['a stream', 'PUT', { kind: 'stream', chunks: ['first, ', 'second'] }, /.*/, 'first, second'],
    ['bytes', 'PUT', { kind: 'bytes', bytes: binary }, /.*/, Buffer.from(binary).toString()],
    ['no body', 'POST', { kind: 'none' }, /.*/, ''],
    ['nothing', 'DELETE', { kind: 'none' }, /.*/, ''],
  ])('sends %s (%s)', async (_kind, method, content, type, body) => {
    const server = await known.serve();
    expect(await clientOf(name).send(`${server.origin}/orders`, { method, content })).toEqual({
      status: 200,
      body: 'ok',
    });
    expect(server.refusals).toEqual([]);
    expect(server.arrived).toMatchObject([{ method, target: '/orders', caller: 'caller' }]);
    const [arrived] = server.arrived;
    expect(arrived?.headers['content-type'] ?? '').toMatch(type);
    if (typeof body === 'string') expect(String(arrived?.body)).toBe(body);
    else expect(String(arrived?.body)).toMatch(body);
    if (content.kind === 'bytes') expect(arrived?.body.equals(binary)).toBe(true);
  });

  it('signs the query as it is sent, and headers of its own', async () => {
    const server = await known.serve();
    const query = '?a=b&a=c&&=&x=%2F%20+\'*~[]{}|"<>^`&ä=☃';
    const call = { headers: { 'x-own': 'yes', authorization: 'Bearer token' } };
    expect(await clientOf(name).send(`${server.origin}/a%2Fb/c%20d${query}`, call)).toMatchObject({
      status: 200,
    });
    expect(server.arrived).toMatchObject([{ headers: { 'x-own': 'yes', authorization: 'Bearer token' } }]);
    expect(server.arrived[0]?.headers['authmesh-target']).toBe(known.device.identity.deviceId);
  });

  it('signs each attempt again', async () => {
    let failures = 2;
    const server = await known.serve({
      front: (_request, response) => failures-- > 0 && Boolean(response.writeHead(503).end()),
    });
    const content: Content = { kind: 'bytes', bytes: binary };
    const hasBody = clientOf(name).repeatsBody !== false;
    const call = { ...(hasBody && { method: 'PUT', content }), retries: 3 };
    amesh = known.callerWith({ answers: 'off' }); // nobody proves such a 503
    expect(await clientOf(name).send(server.origin, call)).toEqual({ status: 200, body: 'ok' });
    expect(new Set(server.came.map(nonceIn)).size).toBe(3);
    expect(server.arrived).toHaveLength(1);
    expect(server.arrived[0]?.body.equals(hasBody ? binary : Buffer.of())).toBe(true);
  });

  it('signs once more if the server has refused the time', async () => {
    let isFirst = true;
    const server = await known.serve({
      front(_request, response) {
        if (!isFirst) return false;
        isFirst = false;
        const date = new Date(Date.now() + 4000).toUTCString();
        response
          .writeHead(401, { 'www-authenticate': 'AuthMesh error="timestamp_out_of_range"', date })
          .end('{}');
        return true;
      },
    });
    amesh = known.callerWith({ answers: 'off' });
    expect(await clientOf(name).send(server.origin)).toEqual({ status: 200, body: 'ok' });
    expect(server.came).toHaveLength(2);
  });

  describe('redirects', () => {
    const moved = (to: () => string, status = 302) => ({
      front: (request: IncomingMessage, response: import('node:http').ServerResponse) =>
        request.url === '/old' && Boolean(response.writeHead(status, { location: to() }).end()),
    });

    it('within the origin are signed again, or are left to the program', async () => {
      const server = await known.serve(moved(() => '/new'));
      amesh = known.callerWith({ answers: 'off' }); // the redirect is of somebody who proves nothing
      const client = clientOf(name);
      const { status } = await client.send(`${server.origin}/old`);
      expect(status).toBe(client.follows ? 200 : 302);
      expect(server.arrived.map(({ target }) => target)).toEqual(client.follows ? ['/new'] : []);
      expect(new Set(server.came.map(nonceIn)).size).toBe(server.came.length);
    });

    it('with a body are never signed again', async () => {
      const server = await known.serve(moved(() => '/new', 307));
      amesh = known.callerWith({ answers: 'off' }); // the redirect is of somebody who proves nothing
      const client = clientOf(name);
      const sending = client.send(`${server.origin}/old`, {
        method: 'POST',
        content: { kind: 'json', value: 1 },
      });
      const status = await sending.then(
        (got) => got.status,
        () => 'failed',
      );
      expect(status).toBe(client.follows ? 'failed' : 307);
      expect(server.arrived).toEqual([]);
    });

    it.each(['another target of the list', 'a server that is in no list'])(
      'to %s carry no signature',
      async (where) => {
        seenElsewhere.length = 0;
        const other = await listen(
          createServer((request, response) => {
            seenElsewhere.push(request);
            response.end('elsewhere');
          }),
        );
        elsewhere.push(other);
        if (where.startsWith('another')) await known.know(other.authority);
        const server = await known.serve(moved(() => `${other.origin}/there`));
        amesh = known.callerWith({ answers: 'off' }); // the redirect is of somebody who proves nothing
        const client = clientOf(name);
        await client.send(`${server.origin}/old`).catch(() => {});
        for (const request of seenElsewhere) expect(signatureIn(request)).toEqual([]);
        expect(server.came.length).toBe(1);
      },
    );
  });

  it('ends when it is aborted, before and while it is sent', async () => {
    const server = await known.serve({ handle: () => {} });
    const sending = clientOf(name).send(server.origin, { signal: AbortSignal.timeout(100) });
    await expect(sending).rejects.toThrow();
    const aborted = clientOf(name).send(server.origin, { signal: AbortSignal.abort() });
    await expect(aborted).rejects.toThrow();
    expect(server.arrived.length).toBeLessThanOrEqual(1);
  });

  it('treats a target that is not listed as its way of signing says', async () => {
    const server = await known.serve({ isListed: false });
    const client = clientOf(name);
    if (client.isFetch) {
      expect(await client.send(server.origin)).toMatchObject({ status: 200 }); // as amesh.fetch: it names no target
      expect(server.came[0]?.headers['authmesh-target']).toBeUndefined();
      return;
    }
    const error = await client.send(server.origin).catch((thrown) => thrown);
    expect(`${error} ${error.cause}`).toContain('Nothing was signed: no target');
    expect(server.came).toEqual([]);
  });

  it('proves answers if amesh.fetch sends', async () => {
    const server = await known.serve();
    const client = clientOf(name);
    await client.send(server.origin);
    expect(server.came[0]?.headers['accept-signature'] !== undefined).toBe(client.isFetch);
    const forged = await known.serve({ front: (_request, response) => Boolean(response.end('forged')) });
    amesh = known.callerWith();
    const sending = clientOf(name).send(forged.origin);
    if (client.isFetch) await expect(sending).rejects.toThrow(/not proven/);
    else expect(await sending).toEqual({ status: 200, body: 'forged' });
  });
});

describe('axios', () => {
  it('sends a form of the package form-data with its file', async () => {
    const server = await known.serve();
    const form = new FormDataPackage();
    form.append('note', 'grüße ☃');
    form.append('file', Readable.from([Buffer.of(0, 255), Buffer.of(13, 10)]), { filename: 'a.png' });
    const type = String(form.getHeaders()['content-type']);
    const { status } = await axiosRecipe.post(`${server.origin}/orders`, form);
    expect([status, server.refusals]).toEqual([200, []]);
    const [arrived] = server.arrived;
    expect(arrived?.headers['content-type']).toBe(type);
    const [, boundary] = type.split('boundary=');
    const sent = String(arrived?.body);
    expect(sent).toContain('name="note"\r\n\r\ngrüße ☃\r\n');
    expect(sent).toContain('filename="a.png"\r\nContent-Type: image/png\r\n\r\n');
    expect(sent.trimEnd().endsWith(`--${boundary}--`)).toBe(true);
    expect(arrived?.body.includes(Buffer.of(0, 255, 13, 10))).toBe(true);
  });

  it('throws an error of amesh as it is, with the code of amesh', async () => {
    const server = await known.serve({
      front: (_request, response) => Boolean(response.writeHead(404).end()),
    });
    const error = await axiosRecipe.get(`${server.origin}/orders`).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ isAxiosError: true, code: 'answer_unproven', config: { method: 'get' } });
  });
});
