import type { Duplex } from 'node:stream';
import { type Amesh, type Authenticated, type Middleware, streamUnverifiedBody } from '@authmesh/sdk';
import { type AuthMeshIdentity, isAmeshError, type Verifier, type VerifyOptions } from '@authmesh/sdk/core';
import { ProxyFault } from './fault';
import { type Journal, shownPath } from './journal';
import { asHttp1, bodilessView } from './lines/as-http1';
import { callerLines } from './lines/caller-headers';
import { bodyLength, framingLines, isHttp2, type ProxyRequest, requestFault } from './lines/framing';
import { endToEnd, type Lines, valuesOf } from './lines/header-lines';
import { withoutSignature } from './lines/signatures';
import {
  answerTo,
  closeUnread,
  headOf,
  isGone,
  type ProxyResponse,
  relay,
  releaseAfter,
  reply,
} from './reply';
import type { Answered, Server } from './server';
import { type Gathered, MEMORY_BYTES, type Spool } from './spool';
import { joinSockets, refuseUpgrade, watchClient, writeRefusal, writeUpgrade } from './upgrade';

/** The largest body that is buffered so that it can be signed, in bytes: the default of `maxAnswerBytes`. */
const MAX_ANSWER_BYTES = 1_048_576;

const WATCH_MS = 1000;

/** How {@link Inward} protects a server. */
export interface InwardOptions {
  readonly amesh: Amesh;
  readonly server: Server;
  readonly spool: Spool;
  readonly journal: Journal;
  /** The largest body, in bytes. */
  readonly maxBodyBytes: number;
  /** Whether a large body is passed on while it arrives, before its digest is verified. */
  readonly isStreaming: boolean;
  /** Whether `X-Forwarded-*` and `Forwarded` come from a proxy in front. */
  readonly trustsForwarded: boolean;
  /** Passed on to `verify()`. */
  readonly verify: Pick<VerifyOptions, 'require' | 'enroll'>;
}

/** Verifies requests, and passes on those that are accepted. */
export class Inward {
  readonly #options: InwardOptions;
  readonly #buffered: Middleware;
  readonly #streamed: Middleware;
  readonly #verifier: Verifier;

  constructor(options: InwardOptions) {
    this.#options = options;
    const { amesh, verify, maxBodyBytes } = options;
    this.#buffered = amesh.verify({ ...verify, maxBodyBytes: Math.min(MEMORY_BYTES, maxBodyBytes) });
    this.#streamed = amesh.verify({ ...verify, maxBodyBytes, [streamUnverifiedBody]: true });
    this.#verifier = amesh.verifier({ ...verify, enroll: false });
  }

  /** Handles a request. @param isExpecting whether its client waits for `100 Continue` before it sends the body */
  handle(request: ProxyRequest, response: ProxyResponse, { isExpecting = false } = {}): void {
    const startMs = performance.now();
    const fault = requestFault(request);
    if (fault !== undefined) {
      this.#refuse(request, response, malformed(fault), startMs);
      return;
    }
    const length = bodyLength(request);
    // Such a request is verified before its body is read, so that strangers cannot make this proxy read anything.
    const isStreamed = isExpecting || length === undefined || length > MEMORY_BYTES;
    const verify = isStreamed ? this.#streamed : this.#buffered;
    verify(request, response, (error) => {
      const { authMesh } = request as Authenticated<ProxyRequest>;
      if (error !== undefined || authMesh === undefined) {
        this.#refuse(request, response, error ?? new Error('verify() named no caller.'), startMs);
        return;
      }
      if (isExpecting) response.writeContinue();
      this.#pass(request, response, { caller: authMesh, length, isStreamed, startMs }).catch((reason) => {
        if (!isGone(response)) this.#refuse(request, response, reason, startMs);
      });
    });
  }

  async #pass(request: ProxyRequest, response: ProxyResponse, facts: Passing): Promise<void> {
    const { spool, server, isStreaming } = this.#options;
    const { caller, length, isStreamed } = facts;
    let gathered: Gathered | undefined;
    try {
      if (isStreamed && !isStreaming && length !== 0) gathered = await spool.gather(request, length);
      const lengthBytes = gathered?.lengthBytes ?? length;
      const open = () => (isStreamed ? request : takeAll(request));
      const body = lengthBytes === 0 ? undefined : (gathered?.open() ?? open());
      const method = request.method ?? 'GET';
      const lines = this.#requestLines(request);
      lines.push(...callerLines(caller), ...framingLines(method, lengthBytes));
      if (isGone(response)) return;
      const onSent = (destroy: () => void) => {
        response.once('close', () => {
          if (!response.writableFinished) destroy();
        });
      };
      const answer = await server.send({ method, target: request.url ?? '/', lines, body, onSent });
      this.#relay(request, response, answer, facts);
    } finally {
      if (gathered !== undefined) releaseAfter(response, gathered);
    }
  }

  #relay(
    request: ProxyRequest,
    response: ProxyResponse,
    { response: answer }: Answered,
    { caller, startMs }: Passing,
  ): void {
    const head = headOf(answer);
    const { journal } = this.#options;
    closeUnread(request, response);
    journal.passedWith(response, { request, status: head.status, startMs, caller: caller.deviceId });
    const holdsBytes = asksForProof(request.rawHeaders) ? MAX_ANSWER_BYTES : 0;
    try {
      relay(response, { head, body: answer, holdsBytes });
    } catch (error) {
      answer.destroy();
      throw error;
    }
  }

  /** Handles an upgrade: it is verified like any request, and then the two connections are joined. */
  async upgrade(request: ProxyRequest & { headers: object }, socket: Duplex, head: Buffer): Promise<void> {
    const startMs = performance.now();
    const fault = upgradeFault(request);
    try {
      if (fault !== undefined) throw malformed(fault);
      const verdict = await this.#verifier.verify(bodilessView(request));
      if (!verdict.ok) {
        refuseUpgrade(socket, verdict.answer);
        return;
      }
      const answer = await this.#open(request, socket, verdict.caller);
      const { deviceId: caller } = verdict.caller;
      const { statusCode: status } = answer.response;
      const seen = { method: request.method, path: shownPath(request.url), status, caller };
      this.#options.journal.passed({ ...seen, upgraded: answer.upgraded !== undefined });
      if (answer.upgraded === undefined) {
        writeRefusal(socket, headOf(answer.response), answer.response);
        return;
      }
      writeUpgrade(socket, headOf(answer.response), answer.response);
      joinSockets({ socket, head }, answer.upgraded);
      this.#watch(request, socket, verdict.mayStillCall);
    } catch (error) {
      const answer = answerTo(error);
      this.#options.journal.failed(request, answer, startMs);
      refuseUpgrade(socket, { status: answer.status, body: JSON.stringify({ error: answer.wire }) });
    }
  }

  /** Ends an upgraded connection within seconds after a revocation: it may last for days. */
  #watch(request: ProxyRequest, socket: Duplex, mayStillCall: () => Promise<boolean>): void {
    const look = async () => {
      if (await mayStillCall()) return;
      clearInterval(timer);
      if (socket.destroyed) return;
      this.#options.journal.write('cut', { path: shownPath(request.url) });
      socket.destroy();
    };
    const timer = setInterval(look, WATCH_MS).unref();
    socket.once('close', () => clearInterval(timer));
  }

  #open(request: ProxyRequest, socket: Duplex, caller: AuthMeshIdentity): Promise<Answered> {
    const lines = [
      ...this.#requestLines(request),
      ...callerLines(caller),
      ...['Connection', 'Upgrade'],
      ...['Upgrade', 'websocket'],
    ];
    let stop = () => {};
    const onSent = (destroy: () => void) => {
      stop(); // the server may be asked again, over another connection
      stop = watchClient(socket, destroy);
    };
    return this.#options.server
      .send({ method: 'GET', target: request.url ?? '/', lines, onSent })
      .finally(() => stop());
  }

  /**
   * The lines that arrived, without those that only this proxy may set, those meant for this proxy, and those that a client may
   * have invented.
   */
  #requestLines(request: ProxyRequest): string[] {
    const { trustsForwarded } = this.#options;
    const kept = endToEnd(request.rawHeaders, ({ lower, isOfProxy, isForwarded }, value) => {
      if (isOfProxy || (isForwarded && !trustsForwarded)) return true;
      if (lower === 'authorization') return /^authmesh\b/i.test(value);
      return lower === 'expect' || lower === 'content-length';
    });
    const unsigned = withoutSignature(kept);
    const lines = isHttp2(request) ? asHttp1(request, unsigned) : unsigned;
    if (trustsForwarded) return lines;
    const { remoteAddress = '' } = request.socket ?? {};
    const isSecure = 'encrypted' in (request.socket ?? {});
    const address = remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress;
    if (address !== '') lines.push('X-Forwarded-For', address);
    lines.push('X-Forwarded-Proto', isSecure ? 'https' : 'http');
    return lines;
  }

  #refuse(request: ProxyRequest, response: ProxyResponse, error: unknown, startMs: number): void {
    const answer = answerTo(error);
    // verify() has reported its refusals itself, including those of a body that it checks while it arrives.
    if (!isAmeshError(error)) this.#options.journal.failed(request, answer, startMs);
    reply(request, response, answer);
  }
}

interface Passing {
  readonly caller: AuthMeshIdentity;
  readonly length: number | undefined;
  /** Whether the request was verified before its body was read. */
  readonly isStreamed: boolean;
  readonly startMs: number;
}

const PROOF_TAG = 'tag="amesh-answer"';

function malformed(fault: string): ProxyFault {
  return new ProxyFault(400, 'malformed_header', `The request cannot be passed on: ${fault}.`);
}

/** The body that `verify()` has put back; or the stream, if more may follow. */
function takeAll(request: ProxyRequest): Buffer | ProxyRequest {
  return (request.read() as Buffer | null) ?? request;
}

function asksForProof(lines: Lines): boolean {
  return valuesOf(lines, 'accept-signature').some((value) => value.includes(PROOF_TAG));
}

/** Only WebSockets are allowed: an upgrade to h2c would let requests through that nobody verifies. */
function upgradeFault(request: ProxyRequest): string | undefined {
  const fault = requestFault(request);
  if (fault !== undefined) return fault;
  const protocols = valuesOf(request.rawHeaders, 'upgrade');
  if (protocols.length !== 1 || protocols[0]?.trim().toLowerCase() !== 'websocket')
    return 'it asks for another protocol than websocket';
  if (request.method !== 'GET') return 'a WebSocket begins with GET';
  return bodyLength(request) === 0 ? undefined : 'a WebSocket begins without a body';
}
