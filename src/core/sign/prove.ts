import { checkedBody, type ExpectedBody, unreadableBody, WRONG_BODY } from '../answers/checked-body';
import { noteProof, takeOver } from '../answers/proven-by';
import { type ExpectedAnswer, type ProvenHead, verifyAnswer } from '../answers/verify-answer';
import type { CryptoProvider } from '../crypto/provider';
import { equalBytes } from '../encoding';
import type { HeaderLines } from '../wire/view';
import { toBodyStream } from './body';
import { discard } from './send';

/** How to prove one answer. */
export interface ProveOptions extends Omit<ExpectedBody, 'digest' | 'crypto'> {
  readonly crypto: Pick<CryptoProvider, 'sha256' | 'createSha256' | 'importPublicKey'>;
  readonly allowsUnprovenBody: boolean;
}

/**
 * Proves an answer.
 *
 * @returns the same answer, whose body is checked while it is read; or a text that says why it is not proven, as the end of a
 *   sentence
 */
export async function prove(
  response: Response,
  expected: ExpectedAnswer,
  options: ProveOptions,
): Promise<Response | string> {
  const { status, statusText } = response;
  const head = await verifyAnswer({ status, headers: linesOf(response) }, expected, options.crypto);
  if (typeof head === 'string') return head;
  const body = bodyOf(response, head, options);
  if (head.digest !== null && body === null) {
    const nothing = await options.crypto.sha256(new Uint8Array());
    if (!equalBytes(nothing, head.digest)) return WRONG_BODY;
  }
  let proven: Response;
  try {
    proven = new Response(body, { status, statusText, headers: response.headers });
  } catch {
    return `a Response cannot have the status ${status}`;
  }
  takeOver(proven, response);
  noteProof(proven, { target: expected.deviceId, head });
  return proven;
}

function bodyOf(
  response: Response,
  head: ProvenHead,
  { crypto, limitBytes, unproven, allowsUnprovenBody }: ProveOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> | null {
  if (response.body === null) return null;
  const open = () => streamOf(response);
  if (head.digest !== null) return checkedBody(open, { digest: head.digest, crypto, limitBytes, unproven });
  if (head.isStream && allowsUnprovenBody) return open() as ReadableStream<Uint8Array<ArrayBuffer>>;
  void discard(response);
  return head.isStream
    ? unreadableBody(() =>
        unproven('its target has signed the head only, and not the body (allowUnprovenBody)'),
      )
    : null;
}

/** The platform's own stream as it is; any other as one of its own. */
function streamOf({ body }: Response): ReadableStream<Uint8Array> {
  return body instanceof ReadableStream ? body : (toBodyStream(body) as ReadableStream<Uint8Array>);
}

function linesOf({ headers }: Response): HeaderLines {
  const lines: Record<string, string | readonly string[]> = Object.create(null);
  for (const [name, value] of headers) lines[name] = value;
  // Of node-fetch, too, whose Headers have another method for it.
  const { raw } = headers as { raw?: () => Record<string, string[]> };
  const cookies = headers.getSetCookie?.() ?? raw?.call(headers)['set-cookie'] ?? [];
  if (cookies.length > 0) lines['set-cookie'] = cookies;
  return lines;
}
