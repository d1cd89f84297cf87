import { streamUnverifiedBody, type Verifier } from '@authmesh/sdk/core';
import { toFetchHandler } from '../../../src/adapters/workers/handler';
import type { Fetch } from '../../contract/servers/serve';
import { kinds, upstream } from './web-kinds';
import { forgetHost, listen, takeSigned, verifierOf } from './web-verifier';

/** Answers each kind at its name, as a plain `fetch` handler. */
export function fetchApp(): Fetch {
  forgetHost();
  const verifiers: Record<string, Verifier> = {
    kind: verifierOf(),
    twice: verifierOf(),
    scoped: verifierOf({ require: 'orders:read' }),
  };
  const answer = async (request: Request): Promise<Response> =>
    kinds[nameOf(request)]?.answer(request) ?? new Response('There is no such kind.', { status: 404 });
  const handlers: Record<string, (request: Request) => Promise<Response>> = {};
  for (const [path, verifier] of Object.entries(verifiers))
    handlers[path] = toFetchHandler(() => verifier, answer);
  const { kind, twice } = handlers;
  if (kind !== undefined && twice !== undefined)
    handlers.twice = toFetchHandler(() => verifiers.kind as Verifier, twice);
  handlers.streamed = toFetchHandler(() => streaming, uploaded);
  return async (request) => {
    listen(request.url);
    const { pathname } = new URL(request.url);
    if (pathname === '/-/signed') return new Response(takeSigned());
    if (pathname.startsWith('/bare/')) return answer(request);
    const handler = upstream[pathname] ?? handlers[pathname.split('/')[1] ?? ''];
    return handler === undefined ? new Response(null, { status: 404 }) : handler(request);
  };
}

/** A verifier that lets handlers read a body before it is verified. */
export const streaming = verifierOf({ [streamUnverifiedBody]: true });

/** Answers before the body, or behind it, also if it is not the one that was signed. */
export async function uploaded(request: Request): Promise<Response> {
  if (nameOf(request) === 'early') return new Response('early');
  const end = await new Response(request.body).text().catch(() => 'wrong');
  return new Response(end);
}

/** The name of the kind, at the end of the path. */
export function nameOf(request: Request): string {
  return decodeURIComponent(new URL(request.url).pathname.split('/').at(-1) ?? '');
}
