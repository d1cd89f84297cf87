import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { RequestView } from '@authmesh/sdk/core';
import compress from '@fastify/compress';
import cookie from '@fastify/cookie';
import etag from '@fastify/etag';
import files from '@fastify/static';
import type { FastifyInstance } from 'fastify';
import compress7 from 'fastify-compress7';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toHook } from '../../src/adapters/fastify/hook';
import { toPlugin } from '../../src/adapters/fastify/plugin';
import { fastifies, type Serving, serve } from '../support/fastify';
import { latest } from '../support/full';
import { asking, checked, provingVerifier, receive } from '../support/proofs';

const text = 'The quick brown fox jumps over the lazy dog. '.repeat(1000);
const folder = mkdtempSync(join(tmpdir(), 'amesh-answers-'));
writeFileSync(join(folder, 'page.html'), text);
afterAll(() => rmSync(folder, { recursive: true }));
const gzip = { 'accept-encoding': 'gzip' };

/** The order in which the plugins are registered. */
const orders = ['verify() first', 'verify() last', 'verify() of a route'] as const;

describe.each(latest(fastifies))('$name', ({ name, fastify }) => {
  const isNew = name === 'Fastify 5';

  describe.each(orders)('with %s', (order) => {
    let serving: Serving;

    beforeAll(async () => {
      const verifier = await provingVerifier();
      const app = fastify() as FastifyInstance;
      const plugins = async () => {
        await app.register((isNew ? compress : compress7) as typeof compress, { threshold: 0 });
        if (!isNew) return; // there is no version of these for both
        await app.register(cookie);
        await app.register(etag);
        await app.register(files, { root: folder, prefix: '/static/' });
      };
      const verify = () => app.register(toPlugin(() => verifier));
      if (order === 'verify() first') await verify();
      await plugins();
      if (order === 'verify() last') await verify();
      if (order === 'verify() of a route') app.addHook('onRequest', toHook(verifier));
      app.addHook('onSend', async (_request, reply, payload) => {
        reply.header('set-cookie', 'late=1');
        return payload;
      });
      app.get('/json', async () => ({ text }));
      app.get('/text', async (_request, reply) => reply.send(text));
      app.get('/bytes', async (_request, reply) => reply.send(Buffer.from(text)));
      app.get('/nothing', async (_request, reply) => reply.code(204).send());
      app.get('/redirect', async (_request, reply) => reply.code(302).header('location', '/x').send());
      app.get('/failed', async () => {
        throw new Error('failed');
      });
      app.get('/hijacked', async (_request, reply) => {
        reply.hijack();
        reply.raw.end(text);
      });
      app.get('/stream', async (_request, reply) => reply.send(Readable.from([text, 'end'])));
      app.get('/length', async (_request, reply) =>
        reply.header('content-length', text.length).send(Readable.from([text])),
      );
      app.get('/raw', async (_request, reply) => {
        reply.hijack();
        reply.raw.write('data: 1\n\n');
        reply.raw.end('data: 2\n\n');
      });
      if (isNew) app.get('/response', async () => new Response(text, { headers: { etag: '"1"' } }));
      serving = await serve(app);
    });
    afterAll(() => serving.app.close());

    async function ask(target: string, more: Partial<RequestView> = {}) {
      const { request, expected } = await asking({ target, ...more });
      const answer = await receive(serving.port, request);
      return { answer, ...(await checked(answer, expected)) };
    }

    const complete = ['json', 'text', 'bytes', 'nothing', 'redirect', 'failed', 'hijacked', 'unknown'];

    it.each([
      ['plain', {}],
      ['gzip', gzip],
    ])('proves every answer, asked for %s', async (encoding, headers) => {
      for (const path of complete) {
        const seen = await ask(`/${path}`, { headers });
        expect([path, seen.proof]).toEqual([path, 'proven']);
        if (path === 'hijacked') continue;
        expect(seen.covered).toContain('set-cookie');
        if (path !== 'text') continue;
        expect(seen.text === text).toBe(true);
        expect(seen.answer.headers['content-encoding']).toEqual(encoding === 'gzip' ? ['gzip'] : undefined);
        expect(seen.covered.includes('etag')).toBe(isNew);
      }
      expect(await ask('/json', { method: 'HEAD', headers })).toMatchObject({ proof: 'proven', text: '' });
    });

    it('signs the head of a stream, and a stream of known length completely', async () => {
      for (const headers of [{}, gzip]) {
        expect((await ask('/stream', { headers })).proof).toBe('stream');
        expect(await ask('/raw', { headers })).toMatchObject({
          proof: 'stream',
          text: 'data: 1\n\ndata: 2\n\n',
        });
      }
      const seen = await ask('/length');
      expect([seen.proof, seen.text === text]).toEqual(['proven', true]);
    });

    if (isNew)
      it('proves files, parts of them, and what has not changed', async () => {
        const first = await ask('/static/page.html');
        expect([first.proof, first.text === text]).toEqual(['proven', true]);
        const condition = { 'if-none-match': String(first.answer.headers.etag) };
        expect(await ask('/static/page.html', { headers: condition })).toMatchObject({
          proof: 'proven',
          status: 304,
        });
        expect(await ask('/static/page.html', { headers: { range: 'bytes=1-9' } })).toMatchObject({
          proof: 'proven',
          status: 206,
          text: text.slice(1, 10),
        });
        const etagged = await ask('/text');
        const again = { 'if-none-match': String(etagged.answer.headers.etag) };
        expect(await ask('/text', { headers: again })).toMatchObject({ proof: 'proven', status: 304 });
        const fetched = await ask('/response');
        expect([fetched.proof, fetched.text === text]).toEqual(['stream', true]);
      });
  });
});
