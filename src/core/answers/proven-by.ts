import { attached } from '../attached';
import { headerLines } from '../wire/view';
import type { ProvenHead } from './verify-answer';

/** What proves an answer. */
export interface AnswerFacts {
  /** The ID of the target that signed it, as it was called: `am_` and 16 base64url characters. */
  readonly target: string;
  /** The key to which the target has moved, if the caller did not know it: its answers say so for 30 days. */
  readonly movedTo?:
    | {
        /** Its device ID. */
        readonly deviceId: string;
        /** A compressed P-256 point, 33 bytes. */
        readonly publicKey: Uint8Array;
      }
    | undefined;
  /** The headers that it signed, as it sent them. All others may have been added in between. */
  readonly headers: Headers;
  /**
   * Whether the body is proven, too. It is then checked while it is read, and fails with `answer_unproven` if it is not the one
   * that was signed. False for a body that was read with `allowUnprovenBody`.
   */
  readonly body: boolean;
}

interface Proof {
  readonly target: string;
  readonly head: ProvenHead;
}

const proofs = /* @__PURE__ */ attached<Proof>();

/** Notes what proves a response, and gives that to its clones. */
export function noteProof(response: Response, proof: Proof): void {
  proofs.set(response, proof);
  const { clone } = response; // not that of the global Response, which a server may have replaced in the meantime
  const value = () => {
    const copy = clone.call(response);
    takeOver(copy, response);
    noteProof(copy, proof);
    return copy;
  };
  Object.defineProperty(response, 'clone', { configurable: true, writable: true, value });
}

/** Gives a response those properties of another one that its constructor does not take. */
export function takeOver(response: Response, { url, redirected, type }: Response): void {
  Object.defineProperties(response, {
    url: { configurable: true, value: url },
    redirected: { configurable: true, value: redirected },
    type: { configurable: true, value: type },
  });
}

const originals = attached<Response>();

/**
 * A response with the head of another one, which it keeps alive: when a response is garbage-collected, undici cancels its body if
 * nobody has begun to read it.
 */
export function copyOf(original: Response, body: BodyInit | null): Response {
  const copy = new Response(body, original);
  originals.set(copy, original);
  return copy;
}

/** Only on Bun, a text has no type before it is sent. */
export const isBun = 'Bun' in globalThis;

/** The same response with headers of its own, for a server that changes them. */
export function withOwnHeaders(response: Response): Response {
  if (!isBun || response.headers.has('content-type')) return copyOf(response, response.body);
  // A copy of a text would get the type of bytes. Of a stream without a type, this makes two, and ends one.
  const clone = response.clone();
  void response.body?.cancel().catch(() => {});
  return clone;
}

/** The head that proves a response; undefined if nothing does. */
export function provenHead(response: Response): ProvenHead | undefined {
  return proofs.get(response)?.head;
}

/**
 * What proves a response of `fetch`, or a clone of it.
 *
 * @returns undefined if nothing proves it: no proof was asked for, or it is not from amesh
 */
export function provenBy(response: Response): AnswerFacts | undefined {
  const proof = proofs.get(response);
  if (proof === undefined) return undefined;
  const { target, head } = proof;
  const headers = new Headers();
  for (const name of Object.keys(head.headers))
    for (const line of headerLines(head.headers, name)) headers.append(name, line);
  const { nextId: deviceId, nextKey: publicKey } = head.succession ?? {};
  const moved = deviceId !== undefined && publicKey !== undefined && { movedTo: { deviceId, publicKey } };
  return { target, ...moved, headers, body: !head.isStream };
}
