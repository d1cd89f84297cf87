import { hasScope, type VerifyOptions } from '@authmesh/sdk/core';
import { Hono, type MiddlewareHandler } from 'hono';
import {
  ALL_SCOPES,
  CONTROL,
  DELEGATES,
  formValues,
  hash,
  NO_DELEGATES,
  ONE_SCOPE,
  type Subject,
  targetOf,
} from '../subject';

/** The contract's application in Hono, for any runtime; `verify` is that of the runtime, over the subject's verifier. */
export function honoApp(subject: Subject, toVerify: (options: VerifyOptions) => MiddlewareHandler) {
  const verify = toVerify({});
  const app = new Hono();
  app.all(CONTROL, async (c) => c.body(subject.control(c.req.method, await c.req.text())));

  const sub = new Hono();
  sub.all('/deep/*', (c) => answer('mounted', c.get('authMesh'), c.req.raw));

  app.all('/only/*', toVerify(ONE_SCOPE), (c) => answer('only', c.get('authMesh'), c.req.raw));
  app.all('/lent/*', toVerify(DELEGATES), (c) => answer('lent', c.get('authMesh'), c.req.raw));
  app.all('/kept/*', toVerify(NO_DELEGATES), (c) => answer('kept', c.get('authMesh'), c.req.raw));
  const protectedApp = new Hono().use(verify);
  protectedApp.post('/read/json', async (c) => c.json(await c.req.json()));
  protectedApp.post('/read/text', async (c) => c.json(await c.req.text()));
  protectedApp.post('/read/form', async (c) => c.json(await c.req.parseBody()));
  protectedApp.post('/read/multipart', async (c) => {
    const form = await c.req.parseBody();
    return c.json(await formValues(Object.entries(form) as [string, string | File][]));
  });
  protectedApp.post('/read/raw', async (c) => c.json(await hash(new Uint8Array(await c.req.arrayBuffer()))));
  protectedApp.all('/own/*', (c) => c.body('', 200, { 'cache-control': 'public' }));
  protectedApp.route('/mounted', sub);
  protectedApp.all('/scoped/one/*', toVerify(ONE_SCOPE), (c) => answer('one', c.get('authMesh'), c.req.raw));
  protectedApp.all('/scoped/all/*', toVerify(ALL_SCOPES), (c) => answer('all', c.get('authMesh'), c.req.raw));
  protectedApp.all('/scoped/asked/*', (c) => c.json(hasScope(c, 'orders:read')));
  protectedApp.all('/twice/*', verify, verify, (c) => answer('twice', c.get('authMesh'), c.req.raw));
  // What a library does that knows the request alone.
  protectedApp.all('*', (c) => answer('app', c.get('authMesh'), c.req.raw));
  app.route('/', protectedApp);
  return app;

  async function answer(via: string, caller: Parameters<Subject['seen']>[1], request: Request) {
    const body = new Uint8Array(await request.arrayBuffer());
    return Response.json(await subject.seen(via, caller, request.method, targetOf(request.url), body));
  }
}
