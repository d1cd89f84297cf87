import { authMesh, hasScope, verify as verifyFastify } from '@authmesh/sdk/fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { fastifies } from '../../support/fastify';
import {
  ALL_SCOPES,
  CONTROL,
  DELEGATES,
  formValues,
  hash,
  NO_DELEGATES,
  ONE_SCOPE,
  type Subject,
} from '../subject';

/** A part of a form, as @fastify/multipart has it. */
type Part = { fieldname: string } & (
  | { type: 'field'; value: string }
  | { type: 'file'; mimetype: string; toBuffer(): Promise<Uint8Array<ArrayBuffer>> }
);

/** The contract's application in Fastify. */
export async function fastifyApp(
  { fastify, multipart }: (typeof fastifies)[number],
  subject: Subject,
): Promise<FastifyInstance> {
  const app = fastify() as FastifyInstance;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.all(CONTROL, async ({ method, body }) => subject.control(method, String(body)));

  await app.register(async (signed) => {
    await signed.register(authMesh, { amesh: subject });
    signed.all('/own/', async (_request, reply) => reply.header('cache-control', 'public').send(''));
    signed.all('/mounted/deep/*', answer('mounted'));
    const verify = verifyFastify({ amesh: subject });
    signed.all('/twice/*', { onRequest: [verify, verify] }, answer('twice'));
    for (const [via, options] of [
      ['one', ONE_SCOPE],
      ['all', ALL_SCOPES],
    ] as const) {
      const onRequest = verifyFastify({ amesh: subject, ...options });
      signed.all(`/scoped/${via}/*`, { onRequest }, answer(via));
    }
    signed.all('/scoped/asked/*', async (request, reply) => reply.send(hasScope(request, 'orders:read')));
    signed.all('/*', answer('app'));
    signed.setNotFoundHandler(answer('app')); // for methods that Fastify does not route
  });

  for (const [via, options] of [
    ['only', ONE_SCOPE],
    ['lent', DELEGATES],
    ['kept', NO_DELEGATES],
  ] as const) {
    await app.register(async (only) => {
      await only.register(authMesh, { amesh: subject, ...options });
      only.all(`/${via}/*`, answer(via));
    });
  }

  await app.register(
    async (read) => {
      read.removeAllContentTypeParsers();
      await read.register(authMesh, { amesh: subject });
      await read.register(multipart as never);
      const string = { parseAs: 'string' } as const;
      read.addContentTypeParser('application/json', string, read.getDefaultJsonParser('error', 'error'));
      read.addContentTypeParser('text/plain', string, (_request, body, done) => done(null, body));
      read.addContentTypeParser('application/x-www-form-urlencoded', string, (_request, body, done) =>
        done(null, Object.fromEntries(new URLSearchParams(String(body)))),
      );
      read.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) =>
        done(null, body),
      );
      for (const kind of ['json', 'text', 'form'])
        read.post(`/${kind}`, async ({ body }, reply) =>
          reply.type('application/json').send(JSON.stringify(body)),
        );
      read.post('/raw', async ({ body }) => JSON.stringify(await hash(body as Uint8Array)));
      read.post('/multipart', async (request) => {
        const entries: [string, string | File][] = [];
        for await (const part of (request as unknown as { parts(): AsyncIterable<Part> }).parts()) {
          const value =
            part.type === 'field'
              ? part.value
              : new File([await part.toBuffer()], 'name', { type: part.mimetype });
          entries.push([part.fieldname, value]);
        }
        return formValues(entries);
      });
    },
    { prefix: '/read' },
  );
  return app;

  function answer(via: string) {
    return async ({ authMesh, method, originalUrl, body, raw }: FastifyRequest) => {
      // Fastify parses no body of a GET, and none without a type; what is there is on the raw request.
      const bytes = body instanceof Uint8Array ? body : Buffer.concat(await raw.toArray());
      return subject.seen(via, authMesh, method, originalUrl, bytes);
    };
  }
}
