import { Socket } from 'node:net';
import { signNow } from '#gather';
import { andThen } from '../../../core/and-then';
import { hasDigest, mayHaveBody } from '../../../core/answers/answer';
import type { AnswerProof } from '../../../core/answers/proof';
import { attached } from '../../../core/attached';
import type { MaybePromise } from '../../../core/crypto/provider';
import { isCoded } from '../../../core/wire/coding';
import { headerLines } from '../../../core/wire/view';
import { isHttp2Response, type NodeRequest, type NodeResponse } from '../request';
import { hasLatin1, removedFrom } from './head-lines';
import { endLate, markEnded, unmarkEnded, writeLate } from './held-end';
import { type HeadChanges, type HeldHead, holdHead } from './held-head';
import { plainBody } from './plain-body';
import { signWithOthers } from './sign-with-others';
import { ownBytes, readEnd, readWrite, valueIn, type Written } from './written';

/** How many bytes of a stream are held while the answer is signed, before the writer has to wait, too: as many as zlib buffers. */
const QUEUE_BYTES = 65_536;

/** The largest body in a buffer of the program that is copied, so that the answer can wait for others. */
const COPY_BYTES = 65_536;

const answers = attached<ProvenAnswer>();

/**
 * Signs the answer to a request. The answer is buffered until it is complete, or is known to be a stream.
 *
 * Some methods of the response are replaced for good. Middleware that was mounted before lies beneath: it gets the signed answer,
 * and may compress it. Middleware that is mounted afterwards lies above: its output is what is signed.
 */
export function proveAnswer(request: NodeRequest, response: NodeResponse, proof: AnswerProof): void {
  // Another verifier signs it already, or a timeout has answered.
  if (answers.get(response) !== undefined || response.headersSent) return;
  answers.set(response, new ProvenAnswer(request.method ?? '', response as unknown as Methods, proof));
}

/** Lets an answer pass unchanged, because another verifier has refused the request, and has signed the refusal itself. */
export function letPass(response: NodeResponse): void {
  answers.get(response)?.letPass();
}

/** Notes that the body is complete, although it comes in pieces of unknown length because something compresses it. */
export function expectWhole(response: NodeResponse): void {
  answers.get(response)?.expectWhole();
}

/** The methods that are replaced, under types that fit both kinds of responses. */
interface Replaced {
  writeHead(...args: unknown[]): unknown;
  write(...args: unknown[]): boolean;
  end(...args: unknown[]): unknown;
  flushHeaders(): void;
  removeHeader(name: string): void;
  destroy(error?: Error): unknown;
}

type Methods = Replaced &
  Pick<NodeResponse, 'hasHeader' | 'getHeader'> & {
    readonly headersSent: boolean;
    readonly socket?: unknown;
    statusCode: number;
    finished: boolean;
    setHeader(name: string, value: number): void;
    emit(event: string): boolean;
  };

/**
 * `idle`: there is no head yet. `held`: the body is gathered. `signing`: the signature is being made, and more may be written.
 * `open`: everything passes.
 */
type State = 'idle' | 'held' | 'signing' | 'open';

/** An end without further bytes. */
const NO_MORE = readEnd([]) as Written;
const NO_BYTES = Buffer.alloc(0);

class ProvenAnswer {
  readonly #method: string;
  readonly #response: Methods;
  readonly #proof: AnswerProof;
  /** The methods as they were. */
  readonly #beneath: Replaced;
  #state: State = 'idle';
  #head: HeldHead | null = null;
  /** The coding of the bytes that are written here, without a coding that is added beneath. */
  #coding: string | undefined;
  /** The announced length in bytes. */
  #lengthBytes: number | undefined;
  /** The most bytes to gather before the end; undefined for a stream. */
  #limitBytes: number | undefined;
  #isWhole = false;
  #queue: Written[] = [];
  #queuedBytes = 0;
  #end: Written | undefined;
  #isEndHeld = false;
  #isWaiting = false;
  #isHeadLatin1 = false;

  constructor(method: string, response: Methods, proof: AnswerProof) {
    this.#method = method;
    this.#response = response;
    this.#proof = proof;
    const { writeHead, write, end, flushHeaders, removeHeader, destroy } = response;
    this.#beneath = { writeHead, write, end, flushHeaders, removeHeader, destroy };
    response.writeHead = (...args) => this.#writeHead(args);
    response.write = (...args) => this.#write(args);
    response.end = (...args) => this.#endWith(args);
    response.flushHeaders = () => this.#flushHeaders();
    response.removeHeader = (name) => this.#removeHeader(name);
    response.destroy = (error) => this.#destroy(error);
  }

  letPass(): void {
    if (this.#state === 'idle') this.#state = 'open';
  }

  expectWhole(): void {
    this.#isWhole = true;
  }

  #passes(): boolean {
    if (this.#state === 'idle' && this.#response.headersSent) this.#state = 'open'; // middleware beneath has sent it
    return this.#state === 'open';
  }

  #writeHead(args: unknown[]): unknown {
    const response = this.#response;
    const { writeHead } = this.#beneath;
    if (this.#state !== 'idle' || this.#passes()) return writeHead.apply(response, args); // throws
    // Read before a hook beneath changes the headers: middleware that compresses there removes the length.
    const length = valueIn(args, response, 'content-length');
    this.#coding = valueIn(args, response, 'content-encoding')?.trim().toLowerCase();
    this.#head = holdHead(response as unknown as NodeResponse, () => writeHead.apply(response, args));
    this.#state = this.#head === null ? 'open' : 'held';
    if (length !== undefined && /^\d{1,15}$/.test(length)) this.#lengthBytes = Number(length);
    const { maxAnswerBytes } = this.#proof;
    if (this.#lengthBytes === undefined) {
      if (this.#isWhole && isCoded(this.#coding)) this.#limitBytes = maxAnswerBytes;
    } else if (this.#lengthBytes <= maxAnswerBytes) this.#limitBytes = this.#lengthBytes;
    return response;
  }

  #write(args: unknown[]): boolean {
    const response = this.#response;
    const written = readWrite(args);
    if (this.#passes() || written === null) return this.#beneath.write.apply(response, args);
    if (this.#end !== undefined) return writeLate(response, args);
    if (this.#state === 'idle') response.writeHead(response.statusCode);
    if (this.#passes()) return this.#beneath.write.apply(response, args);
    this.#queue.push(written);
    this.#queuedBytes += written.bytes.length;
    if (this.#state === 'signing') {
      this.#isWaiting ||= this.#queuedBytes >= QUEUE_BYTES;
      return this.#queuedBytes < QUEUE_BYTES;
    }
    if (this.#isStream(this.#limitBytes)) this.#sign(null);
    else if (this.#queuedBytes === this.#lengthBytes) this.#sign(this.#gathered());
    else this.#keep(written);
    return true;
  }

  #endWith(args: unknown[]): unknown {
    const response = this.#response;
    const written = readEnd(args);
    if (this.#passes() || written === null) return this.#beneath.end.apply(response, args);
    if (this.#end !== undefined) {
      endLate(response, args);
      return response;
    }
    if (this.#state === 'idle') this.#makeHead(written.bytes.length);
    if (this.#passes()) return this.#beneath.end.apply(response, args);
    this.#end = written;
    this.#queuedBytes += written.bytes.length;
    if (this.#state === 'held') this.#signEnded(written);
    if (this.#state === 'signing') {
      this.#isEndHeld = true;
      markEnded(response);
    }
    return response;
  }

  #flushHeaders(): void {
    const response = this.#response;
    if (!this.#passes() && this.#state === 'idle') response.writeHead(response.statusCode);
    if (this.#passes()) this.#beneath.flushHeaders.call(response);
    else if (this.#state === 'held') this.#sign(null);
  }

  /** Middleware that compresses above removes the length. If there was one, the body is complete. */
  #removeHeader(name: string): void {
    if (/^content-length$/i.test(name) && this.#response.hasHeader(name)) this.#isWhole = true;
    this.#beneath.removeHeader.call(this.#response, name);
  }

  #destroy(error: Error | undefined): unknown {
    signNow();
    return this.#beneath.destroy.call(this.#response, error);
  }

  /** Node announces the length of a body that is written in one call. Middleware that compresses beneath may look at it. */
  #makeHead(lengthBytes: number): void {
    const response = this.#response;
    const mayAnnounce = !isHttp2Response(response) && mayHaveBody(this.#method, response.statusCode);
    const others = ['content-length', 'transfer-encoding', 'trailer'];
    const isMissing = mayAnnounce && !others.some((name) => response.hasHeader(name));
    if (isMissing) response.setHeader('content-length', lengthBytes);
    try {
      response.writeHead(response.statusCode);
    } catch (error) {
      if (isMissing) this.#beneath.removeHeader.call(response, 'content-length'); // a different response may follow
      throw error;
    }
  }

  #isStream(limitBytes: number | undefined): boolean {
    const { headers, status } = this.#head as HeldHead;
    if (!mayHaveBody(this.#method, status) || hasDigest(headers)) return true;
    return limitBytes === undefined || this.#queuedBytes > limitBytes;
  }

  /** Some writers wait for their callback before they continue, and then use the same buffer again. */
  #keep(written: Written): void {
    const { callback } = written;
    if (callback === undefined) return;
    this.#queue[this.#queue.length - 1] = ownBytes({ ...written, callback: undefined });
    process.nextTick(callback);
  }

  #gathered(): Uint8Array {
    const end = this.#end;
    if (this.#queue.length === 0 && end !== undefined) return end.bytes;
    const parts = [...this.#queue, ...(end === undefined ? [] : [end])].map(({ bytes }) => bytes);
    return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  }

  /** Signs the answer together with others, if all bytes are there and need no further work. */
  #signEnded(end: Written): void {
    const body = () => (this.#isStream(this.#proof.maxAnswerBytes) ? null : this.#gathered());
    const response = this.#response;
    const isConnected = response.socket instanceof Socket && !isHttp2Response(response);
    const isReady = this.#queue.length === 0 && end.bytes.length <= COPY_BYTES && !isCoded(this.#coding);
    // A program can end a stream of HTTP/2 in ways that nobody sees.
    if (isConnected && isReady) {
      this.#state = 'signing';
      this.#end = ownBytes(end);
      signWithOthers(() => this.#begin(body()));
    } else this.#sign(body());
  }

  #sign(body: Uint8Array | null): void {
    this.#state = 'signing';
    this.#begin(body)();
  }

  /**
   * Begins to sign the answer.
   *
   * @returns sends it as soon as it is signed, and does not throw
   */
  #begin(body: Uint8Array | null): () => void {
    const fail = (error: Error) => void this.#response.destroy(error); // like a write that fails
    try {
      const { headers, release } = this.#head as HeldHead;
      this.#isHeadLatin1 =
        headers['set-cookie'] !== undefined && hasLatin1(headerLines(headers, 'set-cookie'));
      const removed = removedFrom(headers);
      const signed = this.#signed(body, removed);
      const open = (added: HeadChanges | null) => {
        release(added === null ? {} : removed === undefined ? added : { ...removed, ...added });
        this.#state = 'open';
        this.#flush();
      };
      return () => {
        try {
          const sent = andThen(signed, open);
          if (sent instanceof Promise) sent.catch(fail);
        } catch (error) {
          fail(error as Error);
        }
      };
    } catch (error) {
      fail(error as Error);
      return () => {};
    }
  }

  /** @param removed the headers that will be removed */
  #signed(body: Uint8Array | null, removed: HeadChanges | undefined): MaybePromise<HeadChanges | null> {
    const { status, headers } = this.#head as HeldHead;
    const kept = removed === undefined ? headers : { ...headers, ...removed };
    const proof = this.#proof;
    if (body === null || !isCoded(this.#coding)) return proof.sign({ status, headers: kept, body });
    return plainBody(body, this.#coding, proof.maxAnswerBytes).then((plain) =>
      proof.sign({ status, headers: kept, body: plain }),
    );
  }

  #flush(): void {
    const response = this.#response;
    const { write, end } = this.#beneath;
    const queue = this.#queue;
    this.#queue = [];
    if (this.#isEndHeld) unmarkEnded(response);
    this.#isEndHeld = false;
    let isReady = true;
    for (const written of queue) isReady = write.call(response, ...this.#chunkOf(written));
    if (this.#end === undefined) {
      if (queue.length === 0) this.#flushHead();
      else if (this.#isWaiting && isReady) response.emit('drain');
      return;
    }
    const [chunk, encoding, callback] = this.#chunkOf(this.#end);
    // A connection refers to its last response until the next one comes.
    this.#head = null;
    this.#end = NO_MORE;
    if (chunk.length === 0) end.call(response, callback);
    else if (isHttp2Response(response)) {
      write.call(response, chunk, encoding); // Node's end() would call our write()
      end.call(response, callback);
    } else end.call(response, chunk, encoding, callback);
  }

  /** Node sends a head by itself as UTF-8. It sends it as it was signed before bytes, and before the end of an answer without a body. */
  #flushHead(): void {
    const response = this.#response;
    const { write, flushHeaders } = this.#beneath;
    if (!this.#isHeadLatin1) flushHeaders.call(response);
    else if (mayHaveBody(this.#method, response.statusCode)) write.call(response, NO_BYTES);
  }

  /** Node sends a text together with the head, and both in the encoding of the text. A head is signed as Latin-1. */
  #chunkOf({ bytes, given, encoding, callback }: Written): [string | Uint8Array, ...unknown[]] {
    return this.#isHeadLatin1 ? [bytes, undefined, callback] : [given, encoding, callback];
  }
}
