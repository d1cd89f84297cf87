/** The most bytes of one message, in both directions: 16 MiB. */
export const MAX_MESSAGE_BYTES = 16_777_216;

/** The codes of JSON-RPC 2.0 section 5.1, and a code of ours in the range for servers. */
export const RPC = Object.freeze({
  parseError: -32_700,
  invalidRequest: -32_600,
  methodNotFound: -32_601,
  failed: -32_000,
});

/** The ID of a request. MCP allows no other IDs, such as null. */
export type RequestId = string | number;

/** A message of JSON-RPC 2.0. */
export type Message =
  | { readonly kind: 'request'; readonly id: RequestId; readonly method: string; readonly text: string }
  | {
      readonly kind: 'notification';
      readonly method: string;
      /** Only of `notifications/cancelled`: the request that it is about. */
      readonly cancels: unknown;
      readonly text: string;
    }
  | {
      readonly kind: 'response';
      readonly id: RequestId | null;
      readonly result: unknown;
      readonly text: string;
    };

/** Why a text is not a message: a code of {@link RPC}, and a sentence. */
export interface NoMessage {
  readonly kind: 'none';
  readonly code: number;
  readonly detail: string;
}

/**
 * Reads one message. Its text is kept as it is, on one line.
 *
 * @see JSON-RPC 2.0; MCP 2025-06-18, "Messages": no batches
 */
export function readMessage(given: string): Message | NoMessage {
  let value: unknown;
  try {
    value = JSON.parse(given);
  } catch {
    return { kind: 'none', code: RPC.parseError, detail: 'The message is not JSON.' };
  }
  // Events may have line feeds between tokens, and lines of stdio may not.
  const text = /[\r\n]/.test(given) ? JSON.stringify(value) : given;
  if (Array.isArray(value)) return invalid('A batch of messages is not possible in MCP.');
  if (typeof value !== 'object' || value === null) return invalid('The message is not an object.');
  const { jsonrpc, id, method, result, error, params } = value as Record<string, unknown>;
  if (jsonrpc !== '2.0') return invalid('The message has not "jsonrpc": "2.0".');
  if (method !== undefined) {
    if (typeof method !== 'string') return invalid('The method is not a string.');
    if (id === undefined) {
      const isCancel = method === 'notifications/cancelled';
      const cancels = isCancel ? (params as { requestId?: unknown } | undefined)?.requestId : undefined;
      return { kind: 'notification', method, cancels, text };
    }
    return isId(id)
      ? { kind: 'request', id, method, text }
      : invalid('The id is not a string or a whole number.');
  }
  if ((result === undefined) === (error === undefined))
    return invalid('The message has no method, and not one of result and error.');
  if (id !== undefined && id !== null && !isId(id))
    return invalid('The id is not a string or a whole number.');
  return { kind: 'response', id: id ?? null, result, text };
}

function invalid(detail: string): NoMessage {
  return { kind: 'none', code: RPC.invalidRequest, detail };
}

function isId(id: unknown): id is RequestId {
  return typeof id === 'string' || Number.isSafeInteger(id);
}

/** @param id null if the request could not be read */
export function errorText(id: RequestId | null, code: number, message: string, data?: unknown): string {
  const error = data === undefined ? { code, message } : { code, message, data };
  return JSON.stringify({ jsonrpc: '2.0', id, error });
}

/** The error if the server has sent something that is not a message. Asking again would not help. */
export class WrongMessageError extends Error {
  override readonly name = 'WrongMessageError';
}
