import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import { withAmesh } from '@authmesh/sdk/workers';
import { vectorAllowList } from '../../support/vectors';

interface BunRequest extends Request {
  readonly params: { readonly id: string };
  readonly cookies: { get(name: string): string | null; set(name: string, value: string): void };
}
interface BunServer {
  readonly port: number;
  requestIP(request: Request): { readonly address: string } | null;
}
type Handler = (request: Request, server: BunServer) => Promise<Response>;
declare const Bun: {
  serve(options: { port: number; hostname: string; routes: Record<string, Handler> }): BunServer;
};

const verifier = createVerifier({
  allowList: { ...vectorAllowList, hosts: [] },
  nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
});

/** A route of Bun, whose request has what no other one has. */
const route: Handler = withAmesh(
  async (request, server: BunServer) => {
    const { params, cookies } = request as unknown as BunRequest;
    cookies.set('seen', 'yes');
    return Response.json({
      id: params.id,
      session: cookies.get('session'),
      address: server.requestIP(request)?.address,
      body: await request.text(),
    });
  },
  { amesh: { verifier: () => verifier } },
);

const { port } = Bun.serve({ port: 0, hostname: '127.0.0.1', routes: { '/orders/:id': route } });
console.log(`listening ${port}`);
