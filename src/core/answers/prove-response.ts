import { isText } from '../encoding';
import { BODY_HEADER, DIGEST_HEADER, hasDigest, KEY_HEADER } from './answer';
import { type HeldBody, holdBack, isStream } from './hold-back';
import type { AnswerProof } from './proof';
import { copyOf, isBun } from './proven-by';
import { SUCCESSION_HEADER } from './succession';

/**
 * Signs a response with `verdict.proof`, for servers that call a verifier themselves. Returns another `Response` with the
 * same status, headers and body; or the response itself if its caller did not ask, or if it switches protocols.
 *
 * @param contentType for a response with a body that names none; default `application/octet-stream`, and on Bun
 *   `text/plain;charset=utf-8` for UTF-8. Servers and gateways would add one, which the signature would not cover
 * @see docs/workers.md, "Proven answers"
 */
export function proveResponse(
  response: Response,
  proof: AnswerProof | undefined,
  contentType?: string,
): Promise<Response> {
  return proveHeld(response, proof, { contentType });
}

/** Like {@link proveResponse}, for an adapter that may know the whole body already. */
export async function proveHeld(
  response: Response,
  proof: AnswerProof | undefined,
  {
    contentType,
    whole,
  }: {
    readonly contentType?: string | undefined;
    /** The bytes of the body, if they need not be read from the response. */
    readonly whole?: Uint8Array<ArrayBuffer> | undefined;
  },
): Promise<Response> {
  // On Bun there is no response after a WebSocket upgrade, and a 101 cannot be copied.
  if (proof === undefined || !(response?.status >= 200)) return response;
  const headers = new Headers(response.headers); // before the body is touched: Bun then forgets the type of a blob
  const { maxAnswerBytes } = proof;
  const isWhole = whole !== undefined && whole.length <= maxAnswerBytes && !isStream(headers);
  const held: HeldBody = isWhole ? { bytes: whole, body: whole } : await holdBack(response, maxAnswerBytes);
  const { bytes, body } = held;
  for (const name of OF_OTHERS) headers.delete(name);
  if (bytes !== null || !hasDigest(linesOf(headers))) headers.delete(DIGEST_HEADER);
  if (body !== null && !headers.has('content-type')) headers.set('content-type', contentType ?? typeOf(held));
  const { status } = response;
  const added = await proof.sign({ status, headers: linesOf(headers), body: bytes });
  for (const [name, value] of Object.entries(added ?? {})) headers.set(name, value);
  // A server that supplies the whole body sends no status text of its own. Reading that text would make it create a Response.
  if (isWhole) return new Response(body, { status, headers });
  if (bytes !== null) return new Response(body, { status, statusText: response.statusText, headers });
  // A copy of the response itself: on Workers it has more properties than these, such as how its body is encoded.
  const own = copyOf(response, body);
  for (const name of [...OF_OTHERS, DIGEST_HEADER]) own.headers.delete(name);
  for (const [name, value] of headers) if (name !== 'set-cookie') own.headers.set(name, value);
  return own;
}

/** The type of a body that has none. Bun would only name it while it sends a text. */
function typeOf({ bytes, first }: HeldBody): string {
  const isOfText = isBun && isText(bytes ?? first, { stream: bytes === null });
  return isOfText ? 'text/plain;charset=utf-8' : 'application/octet-stream';
}

/** Headers that a handler may have passed on from the answer of another target. */
const OF_OTHERS = [KEY_HEADER, BODY_HEADER, SUCCESSION_HEADER];

function linesOf(headers: Headers): Record<string, string | string[]> {
  const lines: Record<string, string | string[]> = {};
  headers.forEach((value, name) => {
    lines[name] = value;
  });
  if (lines['set-cookie'] !== undefined) lines['set-cookie'] = headers.getSetCookie();
  return lines;
}
