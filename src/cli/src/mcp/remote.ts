import { AsyncLocalStorage } from 'node:async_hooks';
import { type Amesh, type AmeshOptions, allowUnprovenBody, type ClientRefusal } from '@authmesh/sdk';
import { MAX_MESSAGE_BYTES, WrongMessageError } from './message';

/** A response of the server, and what amesh reports about it if it is a refusal. */
export interface Heard {
  readonly response: Response;
  readonly refusal: ClientRefusal | undefined;
}

/** What all requests to the server share. */
export interface RemoteOptions {
  readonly url: URL;
  /** An instance with {@link noteRefusal} as its `onRefusal`. */
  readonly amesh: Pick<Amesh, 'fetch' | 'sign'>;
}

const asking = new AsyncLocalStorage<{ refusal?: ClientRefusal }>();

/** The option `onRefusal` of the instance: it passes a refusal to the request that was refused. */
export const noteRefusal: NonNullable<AmeshOptions['onRefusal']> = (refusal) => {
  const call = asking.getStore();
  if (call !== undefined && !('request' in refusal)) call.refusal = refusal;
};

/** The MCP endpoint, with the headers of its session. */
export class Remote {
  readonly #url: URL;
  readonly #amesh: RemoteOptions['amesh'];
  #isKnown = false;
  /** Undefined before the server has sent one, and if it sends none. */
  sessionId: string | undefined;
  /** The version that both sides agreed on; undefined before that. */
  protocolVersion: string | undefined;

  constructor({ url, amesh }: RemoteOptions) {
    this.#url = url;
    this.#amesh = amesh;
  }

  /**
   * @param more headers in addition to those of the session
   * @throws AmeshError `unknown_target`, and like `amesh.fetch`
   */
  async ask(
    method: 'POST' | 'GET' | 'DELETE',
    { headers: more, body, signal }: { headers?: Record<string, string>; body?: string; signal: AbortSignal },
  ): Promise<Heard> {
    // This throws for an unknown server, which must not even get a signature.
    if (!this.#isKnown) await this.#amesh.sign({ url: this.#url });
    this.#isKnown = true;
    const headers = { ...this.#session(), ...more };
    const call: { refusal?: ClientRefusal } = {};
    // An MCP endpoint does not redirect: every message comes from this target, and from nobody else.
    const init = {
      method,
      headers,
      signal,
      redirect: 'manual',
      ...(body === undefined ? {} : { body }),
    } as const;
    const response = await asking.run(call, () =>
      // A stream of events cannot be proven to its end; its head is proven.
      this.#amesh.fetch(this.#url, { ...init, [allowUnprovenBody]: true }),
    );
    return { response, refusal: call.refusal };
  }

  #session(): Record<string, string> {
    return {
      ...(this.sessionId === undefined ? {} : { 'mcp-session-id': this.sessionId }),
      ...(this.protocolVersion === undefined ? {} : { 'mcp-protocol-version': this.protocolVersion }),
    };
  }
}

/** @throws WrongMessageError if the body is longer than a message may be */
export async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (body ?? []) as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_MESSAGE_BYTES)
      throw new WrongMessageError(`The server sent a message of more than ${MAX_MESSAGE_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Whether a response has this media type, with any parameters. */
export function isType({ headers }: Response, type: string): boolean {
  return headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() === type;
}
