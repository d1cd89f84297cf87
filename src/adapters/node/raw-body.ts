import type { IncomingMessage } from 'node:http';

const bytesOf = new WeakMap<object, Uint8Array>();

/**
 * Keeps the bytes that a parser has read: `express.json({ verify: rawBody })`. Any parser with a hook of this form will do.
 */
export function rawBody(request: IncomingMessage, _response: unknown, bytes: Uint8Array): void {
  bytesOf.set(request, bytes);
}

/** The bytes that {@link rawBody} has kept of a request. */
export function keptBytes(request: object): Uint8Array | undefined {
  return bytesOf.get(request);
}
