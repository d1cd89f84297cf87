import type { Outgoing } from './outgoing';

/**
 * Sends a request as it stands. Redirects come back as responses.
 *
 * @param headers all that go out, those of the signature included
 */
export function send(
  doFetch: typeof globalThis.fetch,
  request: Outgoing,
  headers: Headers,
): Promise<Response> {
  const { url, method, bytes, stream, source, options } = request;
  const redirect = request.redirect === 'error' ? 'error' : 'manual';
  const body = stream === null ? { body: bytes } : { body: stream, duplex: 'half' };
  return doFetch(source ?? url, { ...options, method, headers, ...body, redirect } as RequestInit);
}

/** Lets a response go of which nobody will read the body. */
export async function discard(response: Response): Promise<void> {
  const body = response.body as (ReadableStream & { destroy?(): void }) | null; // that of node-fetch is one of Node
  if (body?.cancel)
    await body.cancel().catch(() => {}); // it may have broken off already
  else body?.destroy?.();
}
