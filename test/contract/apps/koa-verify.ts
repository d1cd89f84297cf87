import { type AuthMeshIdentity, amesh, type VerifyOptions } from '@authmesh/sdk';
import type { Middleware } from 'koa';

/** Lets a request through if a device of the allow list has signed it, which is `ctx.state.caller` then. */
export function verify(options?: VerifyOptions): Middleware<{ caller: AuthMeshIdentity }> {
  const guard = amesh.verify(options);
  return async (ctx, next) => {
    const passed = await new Promise((resolve, reject) => {
      ctx.res.once('close', () => resolve(false)); // amesh has refused it
      guard(ctx.req, ctx.res, (error) => (error ? reject(error) : resolve(true)));
    });
    ctx.respond = passed ? undefined : false;
    if (!passed) return;
    ctx.state.caller = (ctx.req as typeof ctx.req & { authMesh: AuthMeshIdentity }).authMesh;
    await next();
  };
}
