import { toUtf8 } from '../../core/encoding';

/**
 * The body of a response of @hono/node-server that is still what its maker gave: text or bytes. To make a complete `Response` and
 * a stream of it costs more than to sign it.
 *
 * @returns undefined for another response, such as one that somebody has read
 */
export function unmadeBody(response: Response): Uint8Array<ArrayBuffer> | undefined {
  const body = givenBody(response);
  if (typeof body === 'string') return toUtf8(body);
  return body?.slice(); // its maker may write into it again
}

/** The same, as its maker gave it. */
export function givenBody(response: Response): string | Uint8Array<ArrayBuffer> | undefined {
  for (const key of Object.getOwnPropertySymbols(response)) {
    // The server sends what is in this array, and removes it when anything else is asked of the response.
    const [status, body] = entriesOf((response as unknown as Record<symbol, unknown>)[key]);
    if (key.description !== 'cache' || status !== response.status) continue;
    if (typeof body === 'string' || body instanceof Uint8Array)
      return body as string | Uint8Array<ArrayBuffer>;
  }
  return undefined;
}

function entriesOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) && value.length === 3 ? value : [];
}
