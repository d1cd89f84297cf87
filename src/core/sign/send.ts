import type { Outgoing } from './outgoing/outgoing';

/**
 * Sends a request unchanged. Redirects are returned as responses.
 *
 * @param headers all headers, including those of the signature
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
 * Node's fetch repeats a request that was answered with 421, and fails if that response arrives in two parts. It does not
 * repeat a streamed body, and then returns the 421.
 *
 * @returns the request to send after that error, with a Content-Length of its own; null after any other error
 */
export function withoutRepeat(request: Outgoing, error: unknown): Outgoing | null {
  const { code } = ((error as Error | null | undefined)?.cause ?? {}) as { code?: unknown };
  const { bytes, stream } = request;
  if (code !== 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH' || stream !== null || bytes === null) return null;
  return { ...request, stream: new Blob([bytes]).stream() };
}

/** Releases a response whose body nobody will read. */
export async function discard(response: Response): Promise<void> {
  const body = response.body as (ReadableStream & { destroy?(): void }) | null; // node-fetch has a Node stream
  if (body?.cancel)
    await body.cancel().catch(() => {}); // the connection may already be closed
  else body?.destroy?.();
}
