import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import type { ReadableStream as NodeStream } from 'node:stream/web';
import { type Amesh, type AmeshFetchInit, allowUnprovenBody } from '@authmesh/sdk';
import { type Answers, CODES, isAmeshError, isLoopback, normalizeAuthority } from '@authmesh/sdk/core';
import { CommandError } from '../errors/errors';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { Destination, type DestinationOptions, refused } from './destination';
import { ProxyFault } from './fault';
import { type Journal, shownPath } from './journal';
import { bodyLength } from './lines/framing';
import { endToEnd, valuesOf } from './lines/header-lines';
import type { NameFacts } from './lines/names';
import { type AnswerHead, answerTo, closeUnread, headOf, relay, releaseAfter, reply } from './reply';
import type { Answered } from './server';
import type { Gathered, Spool } from './spool';
import { CALL, type Call, Probed } from './transport';
import { joinSockets, refuseUpgrade, watchClient, writeRefusal, writeUpgrade } from './upgrade';

/** How {@link Outward} signs. */
export interface OutwardOptions extends DestinationOptions {
  /** Sends through `createTransport()` of `server`. */
  readonly amesh: Amesh;
  readonly spool: Spool;
  readonly journal: Journal;
  readonly answers: Answers;
  /** Whether to pass on the body of an answer of which the target has signed only the head. */
  readonly allowsUnprovenBodies: boolean;
  /** Whether a body that comes with its Content-Digest is passed on while it arrives. */
  readonly isStreaming: boolean;
}

/** Signs requests, and sends them to one target. */
export class Outward {
  readonly #options: OutwardOptions;
  readonly #destination: Destination;

  constructor(options: OutwardOptions) {
    this.#options = options;
    this.#destination = new Destination(options);
  }

  /** @param isExpecting whether the client waits for `100 Continue` before it sends the body */
  handle(request: IncomingMessage, response: ServerResponse, { isExpecting = false } = {}): void {
    const startMs = performance.now();
    this.#pass(request, response, { isExpecting, startMs }).catch((error) => {
      if (response.destroyed || response.writableFinished) return;
      const answer = answerTo(error);
      this.#options.journal.failed(request, answer, startMs);
      reply(request, response, answer);
    });
  }

  async #pass(
    request: IncomingMessage,
    response: ServerResponse,
    { isExpecting, startMs }: Passing,
  ): Promise<void> {
    const { spool, isStreaming } = this.#options;
    const url = this.#destination.urlOf(request);
    const length = bodyLength(request);
    if (length !== 0 && (request.method === 'GET' || request.method === 'HEAD'))
      throw refused(400, `a ${request.method} with a body cannot be signed`);
    const [digest = ''] = valuesOf(request.rawHeaders, 'content-digest');
    const isStream = isStreaming && length !== 0 && /\bsha-256=:/.test(digest);
    let gathered: Gathered | undefined;
    try {
      if (isExpecting) response.writeContinue();
      if (length !== 0 && !isStream) {
        gathered = await spool.gather(request, length);
        if (request.rawTrailers.length > 0) throw refused(400, 'trailers are not signed');
      }
      const call = toCall(request, {
        lengthBytes: gathered?.lengthBytes ?? length,
        onSent: untilClosed(response),
      });
      const { headers, body } = bodyOf(call.headers, isStream ? request : gathered);
      const answer = await this.#fetch(url, call, { method: request.method ?? 'GET', headers, body });
      this.#relay(request, response, { call, answer, startMs });
    } finally {
      if (gathered !== undefined) releaseAfter(response, gathered);
    }
  }

  #fetch(url: URL, call: Call, init: RequestInit): Promise<Response> {
    const { amesh, answers, allowsUnprovenBodies } = this.#options;
    const own: AmeshFetchInit & { [CALL]: Call } = {
      ...init,
      redirect: 'manual',
      answers,
      [allowUnprovenBody]: allowsUnprovenBodies,
      [CALL]: call,
    };
    return amesh.fetch(url, own).catch(unsignable);
  }

  #relay(request: IncomingMessage, response: ServerResponse, { call, answer, startMs }: Received): void {
    if (call.answer === undefined) throw new Error('There is no response.');
    const { server, journal } = this.#options;
    const head = leadingHere(headOf(call.answer.response, hiddenFrom(call)), server.place.url);
    closeUnread(request, response);
    journal.passedWith(response, { request, status: head.status, startMs });
    const body = bodyFor(call.answer, { call, answer });
    body.once('error', (error) => {
      if (isAmeshError(error)) journal.failed(request, answerTo(error), startMs);
    });
    relay(response, { head, body, holdsBytes: 0 });
  }

  /** Handles a WebSocket: its handshake is signed, and then the two connections are joined. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const startMs = performance.now();
    const controller = new AbortController();
    const stop = watchClient(socket, () => controller.abort());
    try {
      const url = this.#destination.urlOf(request);
      this.#checkUpgrade(request, url);
      const call = toCall(request, { isUpgrade: true });
      const init = { method: 'GET', headers: call.headers, signal: controller.signal };
      // Nothing can prove the bytes after the handshake.
      const answer = await this.#fetchUpgrade(url, call, init).finally(stop);
      if (call.answer === undefined) throw new Error('There is no response.');
      const answerHead = headOf(call.answer.response);
      const seen = { method: request.method, path: shownPath(request.url), status: answerHead.status };
      this.#options.journal.passed({ ...seen, upgraded: call.answer.upgraded !== undefined });
      const { response, upgraded } = call.answer;
      if (upgraded === undefined) writeRefusal(socket, answerHead, bodyFor(call.answer, { call, answer }));
      else {
        writeUpgrade(socket, answerHead, response);
        joinSockets({ socket, head }, upgraded);
      }
    } catch (error) {
      const answer = answerTo(error);
      this.#options.journal.failed(request, answer, startMs);
      refuseUpgrade(socket, { status: answer.status, body: JSON.stringify({ error: answer.wire }) });
    }
  }

  #fetchUpgrade(url: URL, call: Call, init: RequestInit): Promise<Response> {
    const own = { ...init, redirect: 'manual', answers: 'off', [CALL]: call } as const;
    return this.#options.amesh.fetch(url, own as AmeshFetchInit).catch(unsignable);
  }

  #checkUpgrade(request: IncomingMessage, url: URL): void {
    const protocols = valuesOf(request.rawHeaders, 'upgrade');
    if (protocols.length !== 1 || protocols[0]?.trim().toLowerCase() !== 'websocket')
      throw refused(400, 'it asks for another protocol than websocket');
    if (request.method !== 'GET' || bodyLength(request) !== 0)
      throw refused(400, 'a WebSocket begins with GET and without a body');
    const { answers } = this.#options;
    const isPrivate = url.protocol === 'https:' || isLoopback(normalizeAuthority(url.host) ?? '');
    if (answers === 'required' || (answers === 'auto' && !isPrivate))
      throw new ProxyFault(
        502,
        'answer_unproven',
        'Nothing was sent: nothing can prove what comes through a WebSocket. Call the target over https, or give --answers off.',
      );
  }
}

interface Passing {
  readonly isExpecting: boolean;
  readonly startMs: number;
}

interface Received {
  readonly call: Call;
  /** What `amesh.fetch` has returned. */
  readonly answer: Response;
  readonly startMs: number;
}

/** The body to pass on. `amesh.fetch` may have read from the body of the server. */
function bodyFor({ response }: Answered, { call, answer }: Pick<Received, 'call' | 'answer'>): Readable {
  if (call.isUntouched) return response;
  if (answer.body !== null) return Readable.fromWeb(answer.body as NodeStream);
  response.resume();
  return Readable.from([]);
}

/** Throws the error of `amesh.fetch`. If it is about the request that arrived, it is no fault of this proxy. */
function unsignable(error: unknown): never {
  const [, why] =
    (error instanceof TypeError && /^This request (?:cannot be signed: )?(.*)\.$/.exec(error.message)) || [];
  throw why === undefined ? error : refused(400, why);
}

/** Ends the request that was sent last once the client has left, and returns whether it has left. */
function untilClosed(response: ServerResponse): Call['onSent'] {
  let last: (() => void) | undefined;
  return (destroy) => {
    if (last === undefined)
      response.once('close', () => {
        if (!response.writableFinished) last?.();
      });
    last = destroy;
    return response.destroyed;
  };
}

/** The request that arrived, without the lines that only this proxy may set. */
function toCall(request: IncomingMessage, more: Pick<Call, 'lengthBytes' | 'isUpgrade' | 'onSent'>): Call {
  const dropped = ['host', 'expect', 'content-length', 'content-digest'];
  const lines = endToEnd(request.rawHeaders, ({ isOfProxy, lower }) => isOfProxy || dropped.includes(lower));
  const [authorization = ''] = valuesOf(lines, 'authorization');
  const inputs = valuesOf(lines, 'signature-input');
  const isSigned =
    /^authmesh\b/i.test(authorization) || inputs.some((input) => /;\s*tag="amesh"/.test(input));
  if (isSigned) throw refused(400, 'it is signed already');
  const headers = new Headers();
  for (let i = 0; i + 1 < lines.length; i += 2) headers.append(lines[i] as string, lines[i + 1] as string);
  return { ...more, lines, headers };
}

/** A body as `amesh.fetch` takes it: bytes, or a stream with its digest. */
function bodyOf(own: Headers, body: IncomingMessage | Gathered | undefined) {
  if (body === undefined) return { headers: own, body: null };
  if ('digest' in body && body.bytes !== undefined)
    return { headers: own, body: body.bytes as Uint8Array<ArrayBuffer> };
  const isRequest = !('digest' in body);
  const digest = isRequest ? valuesOf(body.rawHeaders, 'content-digest').join(', ') : (body.digest as string);
  const headers = new Headers(own);
  headers.set('content-digest', digest);
  const stream = isRequest ? body : body.open();
  return { headers, body: Readable.toWeb(stream) as ReadableStream<Uint8Array> };
}

/** The lines that a client must not see: those of a body that was decoded, and those that only this machine needs. */
function hiddenFrom({ isDecoded = false }: Call): (facts: NameFacts) => boolean {
  return ({ isOfProxy, lower }) =>
    isOfProxy || (isDecoded && (lower === 'content-encoding' || lower === 'content-length'));
}

/** Makes a redirect within the target lead through this proxy again. */
function leadingHere(head: AnswerHead, { origin }: URL): AnswerHead {
  const lines = head.lines.map((value, i) => {
    if (i % 2 === 0 || !/^(?:content-)?location$/i.test(head.lines[i - 1] as string)) return value;
    const url = /^https?:\/\//i.test(value) && URL.canParse(value) ? new URL(value) : undefined;
    if (url?.origin !== origin) return value;
    // Without the host of the URL, a path that begins with two slashes would name another host.
    const path = url.pathname.startsWith('//') ? `/.${url.pathname}` : url.pathname;
    return path + url.search + url.hash;
  });
  return { ...head, lines };
}

/**
 * Finds out whether this machine knows the target, without sending anything. A machine that has yet to take a token finds that out
 * with its first request.
 *
 * @throws CommandError `unknown_target`; what `amesh.fetch` throws before it sends
 */
export async function assertListed(amesh: Amesh, url: URL, env: NodeJS.ProcessEnv): Promise<void> {
  if (env.AMESH_BOOTSTRAP_TOKEN) return;
  const call: Call = { lines: [], headers: new Headers(), isProbe: true };
  try {
    await amesh.fetch(url, { [CALL]: call } as RequestInit);
  } catch (error) {
    if (error instanceof Probed) return;
    if (!(error instanceof ProxyFault)) throw error;
    throw new CommandError(
      'unknown_target',
      `This machine knows no target at ${url.host}.`,
      `${CODES.unknown_target.fix}: ${here(`amesh trust add --role target --host ${shellWord(url.host)} LINE`)}`,
    );
  }
}
