import type { IncomingMessage } from 'node:http';
import { stateOfSource } from '../../core/verify/state';

/**
 * Keeps the bytes that a parser read: `express.json({ verify: rawBody })`. It works for any parser with such a hook.
 */
export function rawBody(request: IncomingMessage, _response: unknown, bytes: Uint8Array): void {
  stateOfSource(request).kept = bytes;
}

/** The bytes that {@link rawBody} kept for a request. */
export function keptBytes(request: object): Uint8Array | undefined {
  return stateOfSource(request).kept;
}
