/** The messages of a relay, one JSON text frame each. Times are whole seconds. */
export type RelayFrame =
  | { readonly type: 'listening'; readonly code: string; readonly expiresIn: number }
  | { readonly type: 'peer' }
  | { readonly type: 'msg'; readonly body: string }
  | { readonly type: 'peer_gone' }
  | { readonly type: 'error'; readonly code: string; readonly retryAfter?: number };

/** The largest frame: a body of 8 KiB, with each byte escaped as six characters. */
export const MAX_FRAME_BYTES = 64 * 1024;

/** The longest life of a code, whatever a relay says: a longer one would allow more guesses. */
const CODE_SECONDS = 60;

/** @returns null for an invalid message */
export function readRelayFrame(text: string): RelayFrame | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { type, code, expiresIn, body, retryAfter } = value as Record<string, unknown>;
  switch (type) {
    case 'listening': {
      const isCode = typeof code === 'string' && /^[1-9][0-9]{5}$/.test(code);
      return isCode && isSeconds(expiresIn)
        ? { type, code, expiresIn: Math.min(expiresIn, CODE_SECONDS) }
        : null;
    }
    case 'peer':
    case 'peer_gone':
      return { type };
    case 'msg':
      return typeof body === 'string' ? { type, body } : null;
    case 'error': {
      if (typeof code !== 'string' || !/^[a-z_]{1,40}$/.test(code)) return null;
      return isSeconds(retryAfter) ? { type, code, retryAfter } : { type, code };
    }
    default:
      return null;
  }
}

function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= 3600;
}
