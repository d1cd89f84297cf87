import { createServer, request as forward, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import {
  type CalledTarget,
  type ClientOptions,
  createClient,
  createVerifier,
  fromBase64Url,
  InMemoryNonceStore,
  type VerifierOptions,
} from '@authmesh/sdk/core';
import { afterAll, beforeAll } from 'vitest';
import { signerOf } from './core';
import { type Listening, listen } from './listen';
import { targetSigner } from './proofs';
import { vectorAllowList, vectors } from './vectors';

/** What a handler answers. A body of several chunks is a stream, whose head alone is signed. */
export interface Reply {
  readonly status?: number;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
}

export type Handler = (request: IncomingMessage, body: Uint8Array) => Reply | Promise<Reply>;

/** An answer on its way. */
export interface Passing {
  status: number;
  /** Lines, in order. */
  headers: [name: string, value: string][];
  body: Buffer;
  /** Sent in place of the body, piece by piece. If it throws, the connection breaks. */
  stream?: AsyncIterable<Uint8Array>;
}

/** Somebody on the way, who may change an answer, or give an own one. */
export type Hands = (answer: Passing, request: IncomingMessage) => Passing | Promise<Passing>;

/** Somebody on the way, who decides when and how often the server gets a request. If it throws, the connection breaks. */
export type Holder = (deliver: () => Promise<Passing>, request: IncomingMessage) => Promise<Passing>;

/** A server of the vectors' target that signs its answers, and a proxy in front of it, through which it is called. */
export interface ProvingServer {
  /** Of the proxy. */
  readonly origin: string;
  readonly authority: string;
  /** Of the server behind the proxy. */
  readonly farPort: number;
  /** Its handlers by path. */
  readonly routes: Map<string, Handler>;
  /** What the proxy does; honest by default. */
  hands: Hands;
  /** What the proxy does in place of that. */
  holder: Holder | undefined;
  /** The bodies of the requests that were carried out. */
  readonly done: string[];
  /** All requests that the proxy has seen, with their headers. */
  readonly seen: IncomingMessage[];
  /** The options of its verifier, from the next request on. */
  use(options: Partial<VerifierOptions>): void;
  reset(): void;
}

export function useProvingServer(): ProvingServer {
  let near: Listening;
  let far: Listening;
  let verifier: ReturnType<typeof createVerifier>;
  const honest: Hands = (answer) => answer;
  const server: ProvingServer = {
    get origin() {
      return near.origin;
    },
    get authority() {
      return near.authority;
    },
    get farPort() {
      return far.port;
    },
    routes: new Map(),
    hands: honest,
    holder: undefined,
    done: [],
    seen: [],
    use(options) {
      const answerSigner = () => targetSigner();
      const devices = vectorAllowList.devices.map((device) => ({
        ...device,
        keysSince: undefined,
        scopes: ['a'],
      }));
      verifier = createVerifier({
        allowList: { ...vectorAllowList, devices, hosts: [near.authority], endedDelegations: [] },
        nonceStore: new InMemoryNonceStore({ startedAt: 1 }),
        answerSigner,
        ...options,
      });
    },
    reset() {
      server.hands = honest;
      server.holder = undefined;
      server.done.length = 0;
      server.seen.length = 0;
      server.routes.clear();
      server.use({});
    },
  };

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const body = await read(request);
    const { method = '', url: target = '', headers } = request;
    const view = { method, target, authority: headers.host ?? '', headers: linesOf(request), body };
    const verdict = await verifier.verify(view);
    if (!verdict.ok) {
      const { status, headers, body } = verdict.answer;
      return void response.writeHead(status, headers).end(body);
    }
    server.done.push(Buffer.from(body).toString());
    const handler = server.routes.get(target.split('?')[0] as string) ?? ((): Reply => ({ body: 'ok' }));
    const { status = 200, headers: own = {}, body: content = '' } = await handler(request, body);
    const isStream = typeof content === 'object' && Symbol.asyncIterator in content;
    const bytes = isStream ? null : Buffer.from(content as string);
    const added = await verdict.proof?.sign({ status, headers: own, body: bytes });
    response.writeHead(status, { ...own, ...added });
    if (bytes !== null) return void response.end(bytes);
    for await (const chunk of content as AsyncIterable<Uint8Array>) response.write(chunk);
    response.end();
  }

  async function pass(request: IncomingMessage, response: ServerResponse) {
    server.seen.push(request);
    const sent = await read(request);
    const deliver = () => sendOn(far.port, request, sent);
    const answer = await (server.holder?.(deliver, request) ?? server.hands(await deliver(), request));
    const { status, headers, body } = answer;
    response.sendDate = false;
    const kept = headers.filter(
      ([name]) => !/^(connection|keep-alive|transfer-encoding|content-length)$/i.test(name),
    );
    response.writeHead(status, kept.flat());
    if (answer.stream === undefined) response.end(body);
    else await pipeline(answer.stream, response);
  }

  beforeAll(async () => {
    near = await listen((request, response) => void pass(request, response).catch(() => response.destroy()));
    far = await listen(
      createServer((request, response) => void serve(request, response).catch(() => response.destroy())),
    );
    server.use({});
  });
  afterAll(() => Promise.all([near.close(), far.close()]));
  return server;
}

async function read(message: IncomingMessage): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Passes a request on unchanged, and reads the whole answer. */
export async function sendOn(
  port: number,
  { method, url, rawHeaders }: IncomingMessage,
  body: Uint8Array,
): Promise<Passing> {
  const message = forward({
    host: '127.0.0.1',
    port,
    method,
    path: url,
    headers: rawHeaders as never,
    agent: false,
  });
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    message.on('response', resolve).on('error', reject).end(body);
  });
  const raw = answer.rawHeaders;
  const headers = raw.flatMap((name, i): [string, string][] =>
    i % 2 === 0 ? [[name.toLowerCase(), raw[i + 1] as string]] : [],
  );
  return { status: answer.statusCode as number, headers, body: await read(answer) };
}

function linesOf({ rawHeaders }: IncomingMessage): Record<string, string[]> {
  const lines: Record<string, string[]> = {};
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] as string).toLowerCase();
    lines[name] = [...(lines[name] ?? []), rawHeaders[i + 1] as string];
  }
  return lines;
}

/** The vectors' target, with its key. */
export const provingTarget: CalledTarget = {
  deviceId: vectors.devices.target.deviceId,
  publicKey: fromBase64Url(vectors.devices.target.publicKey) as Uint8Array,
};

/** A client of the vectors' controller that knows the target. */
export function askingClient(
  options: Partial<ClientOptions> = {},
  signer: ClientOptions['signer'] = () => signerOf('controller'),
) {
  return createClient({ signer, targetOf: () => provingTarget, ...options });
}
