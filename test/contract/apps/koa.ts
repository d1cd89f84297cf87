import { buffer } from 'node:stream/consumers';
import { hasScope } from '@authmesh/sdk/core';
import Koa, { type Context, type Middleware } from 'koa';
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

/** The contract's application in Koa. */
export function koaApp(subject: Subject, verify: (options?: object) => Middleware): Koa {
  const app = new Koa();
  app.use(async (ctx, next) => {
    if (ctx.path === CONTROL) ctx.body = subject.control(ctx.method, String(await buffer(ctx.req)));
    else await next();
  });
  const on = (path: string, ...handlers: Middleware[]) => {
    app.use(async (ctx, next) => {
      if (!`${ctx.path}/`.startsWith(`${path}/`)) return next();
      const run = (i: number): Promise<unknown> =>
        Promise.resolve((handlers[i] as Middleware)(ctx as never, () => run(i + 1) as Promise<never>));
      return run(0);
    });
  };
  on('/only', verify(ONE_SCOPE), answer('only'));
  on('/lent', verify(DELEGATES), answer('lent'));
  on('/kept', verify(NO_DELEGATES), answer('kept'));
  app.use(verify());
  on('/read', read);
  on('/own', (ctx) => {
    ctx.set('cache-control', 'public');
    ctx.body = '';
  });
  on('/mounted', answer('mounted'));
  on('/scoped/one', verify(ONE_SCOPE), answer('one'));
  on('/scoped/all', verify(ALL_SCOPES), answer('all'));
  on('/scoped/asked', (ctx) => {
    ctx.body = JSON.stringify(hasScope(ctx.req as never, 'orders:read'));
  });
  on('/twice', verify(), verify(), answer('twice'));
  app.use(answer('app'));
  return app;

  function answer(via: string): Middleware {
    return async (ctx) => {
      const { caller } = ctx.state;
      ctx.body = await subject.seen(via, caller, ctx.method, ctx.originalUrl, await buffer(ctx.req));
    };
  }
}

async function read(ctx: Context): Promise<void> {
  const bytes = new Uint8Array(await buffer(ctx.req));
  const parsed = new Response(bytes, { headers: { 'content-type': ctx.get('content-type') } });
  const found = {
    '/read/json': () => parsed.json(),
    '/read/text': () => parsed.text(),
    '/read/form': async () => formValues(await parsed.formData()),
    '/read/multipart': async () => formValues(await parsed.formData()),
    '/read/raw': () => hash(bytes),
  }[ctx.path];
  ctx.type = 'application/json';
  ctx.body = JSON.stringify(await found?.());
}
