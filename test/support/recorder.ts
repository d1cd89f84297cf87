import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { RequestView } from '@authmesh/sdk/core';
import { type Listening, listen } from './listen';

/** A request as it came off the socket, which is a view that a verifier takes. */
export interface Recorded extends RequestView {
  /** A line each, by lower-case name. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer;
  /** The only line of a header; undefined where there is none. */
  header(name: string): string | undefined;
}

export type Answer = (request: Recorded, response: ServerResponse) => void | Promise<void>;

export interface Recorder extends Listening {
  /** Every request with its body, in order of arrival. */
  readonly requests: Recorded[];
  /** What the next requests get; default 200 and `ok`. */
  answer: Answer;
}

/** A real server that writes down what it gets. With `tls`, one of https. */
export async function startRecorder(
  answer: Answer = (_request, response) => void response.end('ok'),
  tls?: { readonly key: string; readonly cert: string },
): Promise<Recorder> {
  const requests: Recorded[] = [];
  async function onRequest(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await record(incoming);
    requests.push(request);
    await recorder.answer(request, response);
  }
  const listening = await listen(
    tls === undefined ? createServer(onRequest) : createTlsServer(tls, onRequest),
  );
  const origin = `${tls === undefined ? 'http' : 'https'}://${listening.authority}`;
  const recorder: Recorder = { ...listening, origin, requests, answer };
  return recorder;
}

async function record(incoming: IncomingMessage): Promise<Recorded> {
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk) => chunks.push(chunk));
  await once(incoming, 'end');
  const headers: Record<string, string[]> = Object.create(null);
  const { rawHeaders } = incoming;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    headers[name] = [...(headers[name] ?? []), rawHeaders[i + 1] as string];
  }
  return {
    method: incoming.method as string,
    target: incoming.url as string,
    authority: headers.host?.[0] ?? '',
    headers,
    body: Buffer.concat(chunks),
    header(name) {
      const lines = headers[name] ?? [];
      if (lines.length > 1) throw new Error(`${name} stands there ${lines.length} times.`);
      return lines[0];
    },
  };
}
