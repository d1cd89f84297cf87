import { hasScope, type VerifyOptions } from '@authmesh/sdk/core';
import type { AuthenticatedRequest } from '@authmesh/sdk/workers';
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

/** `withAmesh()` of the runtime, over the subject's verifier. */
type Protect = (
  handler: (request: AuthenticatedRequest) => Promise<Response>,
  options?: VerifyOptions,
) => (request: Request) => Promise<Response>;

/** The contract's application as a plain `fetch` handler, for any runtime that has such. */
export function fetchApp(subject: Subject, verify: Protect): (request: Request) => Promise<Response> {
  const thrice = verify((request) => verify(verify((again) => answer('twice', again)))(request));
  const one = verify((request) => answer('one', request), ONE_SCOPE);
  const all = verify((request) => answer('all', request), ALL_SCOPES);
  const only = verify((request) => answer('only', request), ONE_SCOPE);
  const lent = verify((request) => answer('lent', request), DELEGATES);
  const kept = verify((request) => answer('kept', request), NO_DELEGATES);
  const app = verify(async (request) => {
    const path = targetOf(request.url);
    if (path === '/read/json') return Response.json(await request.json());
    if (path === '/read/text') return Response.json(await request.text());
    if (path === '/read/form' || path === '/read/multipart')
      return Response.json(await formValues(await request.formData()));
    if (path === '/read/raw') return Response.json(await hash(new Uint8Array(await request.arrayBuffer())));
    if (path === '/own/') return new Response('', { headers: { 'cache-control': 'public' } });
    if (path.startsWith('/scoped/one/')) return one(request);
    if (path.startsWith('/scoped/all/')) return all(request);
    if (path.startsWith('/scoped/asked/')) return Response.json(hasScope(request, 'orders:read'));
    return answer(path.startsWith('/mounted/') ? 'mounted' : 'app', request);
  });
  return async (request) => {
    const path = targetOf(request.url);
    if (path === CONTROL) return new Response(subject.control(request.method, await request.text()));
    if (path.startsWith('/only/')) return only(request);
    if (path.startsWith('/lent/')) return lent(request);
    if (path.startsWith('/kept/')) return kept(request);
    return path.startsWith('/twice/') ? thrice(request) : app(request);
  };

  async function answer(via: string, request: AuthenticatedRequest): Promise<Response> {
    const body = new Uint8Array(await request.arrayBuffer());
    return Response.json(
      await subject.seen(via, request.authMesh, request.method, targetOf(request.url), body),
    );
  }
}
