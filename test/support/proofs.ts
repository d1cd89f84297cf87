import { once } from 'node:events';
import { type IncomingMessage, request as send } from 'node:http';
import type { Socket } from 'node:net';
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import {
  type AnswerSigner,
  type AnswerView,
  type ExpectedAnswer,
  type RequestView,
  type Signer,
  type SignOptions,
  toRequestView,
  verifyAnswer,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { answerNonce, mayHaveBody } from '../../src/core/answers/answer';
import { equalBytes } from '../../src/core/encoding';
import { signParts } from '../../src/core/sign/sign-request';
import { isRequest } from '../../src/core/wire/view';
import { NOW, signerOf, verifierAt } from './core';
import { vectors } from './vectors';

/** Whether a signature is there at once, as with a key in this process, or later, as with every other one. */
export interface Signing {
  readonly isLater?: boolean;
}

/** Both, for `describe.each`. */
export const signings = [
  { when: 'at once', isLater: false },
  { when: 'later', isLater: true },
] as const;

/** Signs answers with the key of the vectors' target. */
export async function targetSigner({ isLater = false }: Signing = {}): Promise<AnswerSigner> {
  const key = await signerOf('target');
  const { deviceId } = vectors.devices.target;
  return { deviceId, sign: isLater ? async (message) => key.sign(message) : (message) => key.sign(message) };
}

/** A verifier of the vectors' target that signs its answers. */
export async function provingVerifier({
  isLater = false,
  ...options
}: Parameters<typeof verifierAt>[0] & Signing = {}) {
  return verifierAt({ answerSigner: await targetSigner({ isLater }), ...options });
}

/** How to ask; default: the vectors' controller, at {@link NOW}. */
export type AskOptions = Pick<SignOptions, 'created' | 'format' | 'nonce' | 'targetDeviceId'> & {
  readonly signer?: Signer;
};

/** A request that asks for a proof, and what its caller then expects of the vectors' target. */
export async function asking(
  request: Request,
  options?: AskOptions,
): Promise<{ request: Request; expected: ExpectedAnswer }>;
export async function asking(
  request?: Partial<RequestView>,
  options?: AskOptions,
): Promise<{
  request: RequestView & { readonly headers: Record<string, string> };
  expected: ExpectedAnswer;
}>;
export async function asking(
  request: Request | Partial<RequestView> = {},
  { signer, created = NOW, ...options }: AskOptions = {},
): Promise<{ request: unknown; expected: ExpectedAnswer }> {
  const caller = signer ?? (await signerOf('controller'));
  if (!isRequest(request)) {
    const view = { method: 'GET', target: '/', authority: 'api.example.com', headers: {}, ...request };
    const body = view.body as Uint8Array | undefined;
    const parts = await signParts(view, body, caller, { created, asksForProof: true, ...options });
    return {
      request: { ...view, headers: { ...view.headers, ...parts.added } },
      expected: await expectedOf(view, parts),
    };
  }
  const body = request.body === null ? undefined : new Uint8Array(await request.arrayBuffer());
  const view = toRequestView(new Request(request.url, { method: request.method, headers: request.headers }));
  const parts = await signParts(view, body, caller, { created, asksForProof: true, ...options });
  const headers = new Headers([...request.headers, ...Object.entries(parts.added)]);
  const { method, url } = request;
  const signed = new Request(url, { method, headers, ...(body && { body }), redirect: 'manual' });
  return { request: signed, expected: await expectedOf(view, parts) };
}

async function expectedOf(
  { method, headers }: RequestView,
  { base, signature }: Awaited<ReturnType<typeof signParts>>,
): Promise<ExpectedAnswer> {
  const { publicKey } = await signerOf('target');
  return {
    method,
    nonce: await answerNonce(base, signature, nodeCrypto),
    asksForPart: headers.range !== undefined,
    nowMs: NOW * 1000,
    isConditional: headers['if-none-match'] !== undefined || headers['if-modified-since'] !== undefined,
    deviceId: vectors.devices.target.deviceId,
    key: await nodeCrypto.importPublicKey(publicKey),
  };
}

/** An answer with all lines of its headers and the bytes of its body, as they came over the wire. */
export interface ReceivedAnswer extends AnswerView {
  readonly body: Uint8Array;
}

/** An answer that was checked. */
export interface CheckedAnswer {
  /** `proven`; `stream`, with a proven head only; or why it is not proven, as the end of a sentence. */
  readonly proof: string;
  /** The covered fields. */
  readonly covered: readonly string[];
  readonly status: number;
  /** The body before any coding. */
  readonly text: string;
  /** The `Content-Type`. */
  readonly type: string | undefined;
}

/**
 * Checks an answer as a client does: its head, then its body against the digest.
 *
 * @param response what {@link receive} or `fetch` returned
 */
export async function checked(
  response: Response | ReceivedAnswer,
  expected: ExpectedAnswer,
): Promise<CheckedAnswer> {
  const isFetched = 'arrayBuffer' in response;
  const coded = isFetched ? new Uint8Array(await response.arrayBuffer()) : response.body;
  const headers = isFetched ? linesOf(response.headers) : response.headers;
  const { status } = response;
  const encoding = isFetched || !mayHaveBody(expected.method, status) ? '' : headers['content-encoding'];
  const body = decoded(coded, String(encoding ?? ''));
  const head = await verifyAnswer({ status, headers }, expected, nodeCrypto);
  const type = headers['content-type']?.toString();
  const seen = { status, text: Buffer.from(body).toString(), type };
  if (typeof head === 'string') return { ...seen, proof: head, covered: [] };
  const covered = Object.keys(head.headers);
  if (head.isStream) return { ...seen, proof: 'stream', covered };
  const digest = head.digest ?? (await nodeCrypto.sha256(new Uint8Array()));
  const isWhole = equalBytes(digest, await nodeCrypto.sha256(body));
  return { ...seen, proof: isWhole ? 'proven' : 'its body does not match its digest', covered };
}

function linesOf(headers: Headers): Record<string, string | string[]> {
  const lines: Record<string, string | string[]> = Object.fromEntries(headers);
  if (headers.getSetCookie().length > 0) lines['set-cookie'] = headers.getSetCookie();
  return lines;
}

function decoded(body: Uint8Array, encoding: string): Uint8Array {
  if (body.length === 0) return body;
  if (encoding === 'gzip') return gunzipSync(body);
  if (encoding === 'deflate') return inflateSync(body);
  if (encoding === 'br') return brotliDecompressSync(body);
  return body;
}

/** When a body is sent; default: with the head. The server may look at the head alone only if the body comes later. */
export type BodyAfter = () => Promise<unknown>;

/** Sends a request of {@link asking} to a loopback port, with its own authority as Host, and reads the whole answer. */
export async function receive(
  port: number,
  request: RequestView,
  bodyAfter?: BodyAfter,
): Promise<ReceivedAnswer> {
  const { method, target, authority, headers } = request;
  const body = request.body as Uint8Array | undefined;
  const length = body === undefined ? {} : { 'content-length': body.length };
  const message = send({
    host: '127.0.0.1',
    port,
    method,
    path: target,
    headers: { host: authority, ...headers, ...length } as Record<string, string>,
    agent: false,
  });
  const answering = new Promise<IncomingMessage>((resolve, reject) => {
    message.on('response', resolve).on('error', reject);
  });
  if (bodyAfter !== undefined) {
    message.flushHeaders();
    const [socket] = (await once(message, 'socket')) as [Socket];
    if (socket.connecting) await once(socket, 'connect');
    await bodyAfter();
  }
  message.end(body);
  const answer = await answering;
  const chunks: Uint8Array[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  return { status: answer.statusCode ?? 0, headers: rawLines(answer), body: Buffer.concat(chunks) };
}

/** All lines by lower-case name, which `headers` of Node joins or drops. */
function rawLines({ rawHeaders }: IncomingMessage): Record<string, string[]> {
  const lines: Record<string, string[]> = {};
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    lines[name] = [...(lines[name] ?? []), rawHeaders[i + 1] as string];
  }
  return lines;
}
