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

/**
 * The fetch of Node sends a request by itself again that was answered by 421, and fails at it where that answer comes in two
 * parts. A body that is a stream it does not send again, so that the 421 arrives.
 *
 * @returns the request to send after such an error, null after any other
 */
export function withoutRepeat(request: Outgoing, error: unknown): Outgoing | null {
  const { code } = ((error as Error | undefined)?.cause ?? {}) as { code?: unknown };
  const { bytes, stream } = request;
  if (code !== 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' || stream !== null || bytes === null) return null;
  const headers = new Headers(request.headers);
  headers.set('content-length', String(bytes.length));
  return { ...request, headers, stream: new Blob([bytes]).stream() };
}

/** Lets a response go of which nobody will read the body. */
export async function discard(response: Response): Promise<void> {
  const body = response.body as (ReadableStream & { destroy?(): void }) | null; // that of node-fetch is one of Node
  if (body?.cancel)
    await body.cancel().catch(() => {}); // it may have broken off already
  else body?.destroy?.();
}
