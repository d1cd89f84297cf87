import { toUtf8 } from '../../core/encoding';

/**
 * The body of a response of @hono/node-server, if it is still the text or the bytes that the handler passed. Making a complete
 * `Response` and a stream from it would cost more than signing it.
 *
 * @returns undefined for another response, such as one that somebody has read
 */
export function unmadeBody(response: Response): Uint8Array<ArrayBuffer> | undefined {
  const body = givenBody(response);
  if (typeof body === 'string') return toUtf8(body);
  return body?.slice(); // the handler may change its bytes later
}

/** The same body, as the handler passed it. */
export function givenBody(response: Response): string | Uint8Array<ArrayBuffer> | undefined {
  for (const key of Object.getOwnPropertySymbols(response)) {
    // The server sends the content of this array, and removes the array as soon as anybody uses another property of the response.
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
