import { covers, isScope, type Scope } from './scopes';

/** A request behind `verify()`: of Express, Fastify, node:http or `withAmesh()`, or a context of Hono. */
export type ScopedRequest =
  | {
      /** The verified caller. */
      readonly authMesh?:
        | {
            /** The scopes that it has, such as `orders:read`, `orders:*` or `*`. */
            readonly scopes: readonly string[];
          }
        | null
        | undefined;
    }
  | {
      /** The variables of a context. */
      readonly var: {
        /** The verified caller. */
        readonly authMesh?:
          | {
              /** The scopes that it has, such as `orders:read`, `orders:*` or `*`. */
              readonly scopes: readonly string[];
            }
          | null
          | undefined;
      };
    };

/**
 * Whether the verified caller of a request has a scope, for handlers that do more for some callers than for others. False
 * for a request that was not verified, and for a text that is not a scope: `orders:*` and `*` are not scopes.
 *
 * @param request the request, or the context of Hono
 * @throws TypeError for a scope that is not a text, and for a request that is not an object
 * @see docs/server.md, "Scopes"
 */
export function hasScope(request: ScopedRequest, scope: Scope): boolean {
  if (typeof request !== 'object' || request === null || typeof scope !== 'string')
    throw new TypeError('hasScope() takes a request and a scope.');
  const { authMesh, var: variables } = request as {
    readonly authMesh?: { readonly scopes: readonly string[] } | null;
    readonly var?: { readonly authMesh?: { readonly scopes: readonly string[] } | null };
  };
  const scopes = (authMesh ?? variables?.authMesh)?.scopes;
  return Array.isArray(scopes) && isScope(scope) && covers(scopes, scope);
}
