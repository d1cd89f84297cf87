import type { AuthenticatedRequest } from '@authmesh/sdk/workers';
import { CONTROL, formValues, hash, type Subject, targetOf } from '../subject';

/** `withAmesh()` of the runtime, over the subject's verifier. */
type Protect = (
  handler: (request: AuthenticatedRequest) => Promise<Response>,
) => (request: Request) => Promise<Response>;

/** The contract's application as a plain `fetch` handler, for any runtime that has such. */
export function fetchApp(subject: Subject, verify: Protect): (request: Request) => Promise<Response> {
  const thrice = verify((request) => verify(verify((again) => answer('twice', again)))(request));
  const app = verify(async (request) => {
    const path = targetOf(request.url);
    if (path === '/read/json') return Response.json(await request.json());
    if (path === '/read/text') return Response.json(await request.text());
    if (path === '/read/form' || path === '/read/multipart')
      return Response.json(await formValues(await request.formData()));
    if (path === '/read/raw') return Response.json(await hash(new Uint8Array(await request.arrayBuffer())));
    if (path === '/own/') return new Response('', { headers: { 'cache-control': 'public' } });
    return answer(path.startsWith('/mounted/') ? 'mounted' : 'app', request);
  });
  return async (request) => {
    const path = targetOf(request.url);
    if (path === CONTROL) return new Response(subject.control(request.method, await request.text()));
    return path.startsWith('/twice/') ? thrice(request) : app(request);
  };

  async function answer(via: string, request: AuthenticatedRequest): Promise<Response> {
    const body = new Uint8Array(await request.arrayBuffer());
    return Response.json(
      await subject.seen(via, request.authMesh, request.method, targetOf(request.url), body),
    );
  }
}
