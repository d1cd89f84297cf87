import { isAmeshError } from '@authmesh/sdk/core';
import { inOwnWords } from '../words/own-words';
import { printable } from '../words/printable';
import { readMessage } from './message';
import { type Heard, readText } from './remote';

/** The most characters of a server's own text that an error repeats. */
const MAX_SHOWN = 300;

/** Why a request of the client has no response. */
export interface Failure {
  readonly message: string;
  /** For programs: the code of amesh, if there is one, and the HTTP status. */
  readonly data?: { readonly code?: string; readonly status?: number };
}

/** Describes a failure before there was a response. */
export function thrownFailure(error: unknown): Failure {
  if (isAmeshError(error))
    return { message: inOwnWords(error.message, 'amesh mcp'), data: { code: error.code } };
  const { message, cause } = Object(error) as Error;
  // The network always fails with a cause. Anything else is about this machine, such as a wrong variable.
  if (error instanceof TypeError && cause === undefined && message !== 'fetch failed')
    return { message: printable(message) };
  const why = (Object(cause) as Error).message;
  return { message: `The server could not be reached: ${printable(why ? `${message}: ${why}` : message)}` };
}

/** A request of which nobody knows what has become. */
export const LOST: Failure = Object.freeze({
  message: 'The connection to the server was lost before it responded. It may have carried the request out.',
});

/** Describes a refusal: a refusal of amesh with its fix, or a refusal of the server itself. */
export async function answeredFailure({ response, refusal }: Heard): Promise<Failure> {
  const { status } = response;
  if (refusal !== undefined) {
    await response.body?.cancel().catch(() => {});
    const { code, detail, fix } = refusal;
    return { message: `${detail} ${fix}`, data: { code, status } };
  }
  const text = await readText(response).catch(() => '');
  const own = messageOf(text).slice(0, MAX_SHOWN);
  return {
    message: `The server responded with ${status}${own === '' ? '.' : `: ${printable(own)}`}`,
    data: { status },
  };
}

/** The message of an error of JSON-RPC, or the text itself. */
function messageOf(text: string): string {
  if (readMessage(text).kind === 'none') return text.trim();
  const { error } = JSON.parse(text) as { error?: { message?: unknown } };
  return typeof error?.message === 'string' ? error.message : text;
}
