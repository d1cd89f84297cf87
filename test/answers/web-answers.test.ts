import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { asking } from '../support/proofs';
import { exchange, head, RawClient } from '../support/raw-http';
import { requireRuntime } from '../support/runtime-server';
import { signedRaw } from '../support/signed-raw';
import { honoRoutes, mounts } from './servers/web-hono-app';
import { kinds, OTHERS } from './servers/web-kinds';
import { ask, startWebServer, webServers } from './web-servers';

const named = Object.entries(kinds).map(([name, kind]) => ({ name, ...kind }));

describe.each(webServers)('the answers of $name', async (kind) => {
  const runtime = await requireRuntime(kind.runtime);
  describe.skipIf(runtime === null)(runtime?.version ?? 'not installed', () => {
    let server: NonNullable<Awaited<ReturnType<typeof startWebServer>>>;
    let port: number;
    beforeAll(async () => {
      server = (await startWebServer(kind)) as typeof server;
      port = server.port;
    });
    afterAll(() => server?.close());

    const prefix = kind.framework === 'hono' ? '/plain/kind' : '/kind';
    const plain = (target: string, headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${port}${target}`, { headers });
    const takeSigned = async () => Number(await (await plain('/-/signed')).text());

    it.each(named)(
      '$name: $proof',
      async ({ name, proof, method, headers, status = 200, text, covered = [] }) => {
        const answer = await ask(port, `${prefix}/${encodeURIComponent(name)}`, { method, headers });
        expect(answer).toMatchObject({ status, proof, ...(text === undefined ? {} : { text }) });
        expect(answer.covered).toEqual(expect.arrayContaining([...covered]));
      },
    );

    it('are the same as without proofs, for callers that do not ask', async () => {
      await takeSigned();
      const signer = await signerOf('controller');
      for (const { name, method = 'GET', headers = {}, status = 200, text } of named) {
        const target = `${prefix}/${encodeURIComponent(name)}`;
        const request = await signedRaw(signer, `127.0.0.1:${port}`, { method, target, headers });
        const client = await RawClient.connect(port);
        const answer = await client.write(head(request.line, request.headers)).response(method);
        client.destroy();
        expect(answer.status).toBe(status);
        if (text !== undefined) expect(answer.body).toBe(text);
        const passedOn = name.includes('another target') ? OTHERS.signature : undefined;
        expect([name, answer.headers.signature]).toEqual([name, passedOn]);
      }
      expect(await takeSigned()).toBe(0);
    });

    it('are not signed for callers that are not known', async () => {
      const target = `${prefix}/text`;
      const stranger = await ask(port, target, { signer: await signerOf('stranger') });
      const unsigned = await plain(target, { 'accept-signature': 'amesh=();tag="amesh-answer"' });
      expect([stranger.status, unsigned.status]).toEqual([401, 401]);
      expect(stranger.proof).toBe('it has no signature of amesh');
      expect(unsigned.headers.get('signature')).toBeNull();
      expect(await takeSigned()).toBe(0);
    });

    it('are signed once, however many verify() there are', async () => {
      const target = kind.framework === 'hono' ? '/twice/json' : '/twice/text';
      await takeSigned();
      expect(await ask(port, target)).toMatchObject({ status: 200, proof: 'proven' });
      expect(await takeSigned()).toBe(1);
    });

    it('a refusal for a scope is proven', async () => {
      const answer = await ask(port, '/scoped/text');
      expect(answer).toMatchObject({ status: 403, proof: 'proven' });
    });

    it('while the body of its request is not verified, an answer is not signed', async () => {
      const body = new TextEncoder().encode('abc'.repeat(1000));
      const post = { method: 'POST', body, headers: { 'content-type': 'text/plain' } };
      const changed = body.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
      expect(await ask(port, '/streamed/whole', post)).toMatchObject({ status: 200, proof: 'proven' });
      await takeSigned();
      // Once the server has answered another request, it has seen the head of this one.
      const later = { ...post, bodyAfter: takeSigned };
      const early = await ask(port, '/streamed/early', later);
      const wrong = await ask(port, '/streamed/whole', { ...later, sentBody: changed });
      const none = 'it has no signature of amesh';
      expect(early).toMatchObject({ status: 200, text: 'early', proof: none });
      expect(wrong).toMatchObject({ status: 200, text: 'wrong', proof: none });
      expect(await takeSigned()).toBe(0);
    });

    // @hono/node-server itself gives a body another type if anything in front of the handler sets a header.
    it.each(named.filter(({ name }) => name !== 'a form' && kind.runtime !== 'node'))(
      '$name: has the type that the runtime gives it',
      async ({ name, method = 'GET', headers = {} }) => {
        const target = `${prefix}/${encodeURIComponent(name)}`;
        const bare = target.replace(prefix, kind.framework === 'hono' ? '/bare/kind' : '/bare');
        const authority = `127.0.0.1:${port}`;
        const sent = head(`${method} ${bare} HTTP/1.1`, { host: authority, ...headers });
        const { headers: own } = await exchange(port, sent);
        const signer = await signerOf('controller');
        const request = await signedRaw(signer, authority, { method, target, headers });
        const answer = await exchange(port, head(request.line, request.headers));
        expect(answer.headers['content-type']).toBe(own['content-type']);
        const proven = await ask(port, target, { method, headers });
        // A proven answer needs a type. Bun does not tell a text from bytes and streams.
        const untyped = own['content-type'] ?? 'application/octet-stream';
        const isGuess = kind.runtime === 'bun' && untyped === 'application/octet-stream';
        const type =
          isGuess && !name.startsWith('bytes that are no text') ? 'text/plain;charset=utf-8' : untyped;
        if (proven.text !== '') expect(proven.type).toBe(type);
      },
    );

    it('a handler may return the same response again and again', async () => {
      const signer = await signerOf('controller');
      const target = `${prefix}/nothing`;
      const lines: unknown[] = [];
      for (const _ of [1, 2]) {
        const request = await signedRaw(signer, `127.0.0.1:${port}`, { target });
        const { status, headers } = await exchange(port, head(request.line, request.headers));
        lines.push([status, headers['cache-control'], headers.vary]);
      }
      expect(lines[0]).toEqual([200, 'private', 'Authorization, Signature-Input']);
      expect(lines[1]).toEqual(lines[0]);
    });

    if (kind.framework !== 'hono') return;
    describe('in an application of Hono', () => {
      const routes = mounts.flatMap((mount) =>
        Object.entries(honoRoutes).map(([route, proof]) => ({ target: `/${mount}/${route}`, proof })),
      );
      it.each(routes)('$target: $proof', async ({ target, proof }) => {
        const isCoded = kind.runtime !== 'workerd' && target.startsWith('/coded');
        const headers = isCoded ? { 'accept-encoding': 'gzip' } : {};
        expect(await ask(port, target, { headers })).toMatchObject({ proof });
      });

      it('the first event of a stream is not delayed', async () => {
        const { head: first, ...rest } = await firstChunk(port, '/plain/waiting');
        expect(first).toContain('data: first');
        await plain('/-/release');
        expect(await rest.end()).toContain('data: second');
      });

      // The CompressionStream of Hono is not for Workers, which compress by themselves.
      if (kind.runtime !== 'workerd') {
        it('compressed inside verify(), it says that it is a stream', async () => {
          const headers = { 'accept-encoding': 'gzip' };
          const answer = await ask(port, '/inner/page', { headers });
          expect(answer).toMatchObject({ status: 200, proof: 'stream', text: '<p>hello' });
          expect(await ask(port, '/inner/page')).toMatchObject({ proof: 'proven' });
        });
      }

      it('with etag() inside verify(), it is proven, even if it is not modified', async () => {
        const first = await ask(port, '/tagged/json');
        expect(first).toMatchObject({ status: 200, proof: 'proven' });
        expect(first.covered).toContain('etag');
        const headers = { 'if-none-match': '*' };
        expect(await ask(port, '/tagged/json', { headers })).toMatchObject({ status: 304, proof: 'proven' });
      });

      it.each(['/scoped/json', '/later/json', '/both/json'])(
        'a refusal for a scope is proven: %s',
        async (target) => {
          expect(await ask(port, target)).toMatchObject({ status: 403, proof: 'proven' });
        },
      );
    });
  });
});

/** Reads a signed answer until its first event is there, and leaves it open. */
async function firstChunk(port: number, target: string) {
  const view = { method: 'GET', target, authority: `127.0.0.1:${port}` };
  const { request } = await asking(view, { created: Math.floor(Date.now() / 1000) });
  const response = await fetch(`http://127.0.0.1:${port}${target}`, { headers: request.headers });
  expect(response.headers.get('authmesh-body')).toBe('unsigned');
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  const { value } = await reader.read();
  return {
    head: decoder.decode(value),
    async end() {
      let text = '';
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return text;
        text += decoder.decode(value);
      }
    },
  };
}
