import { connect, type Socket } from 'node:net';
import { u32 } from '../slow/bytes';
import { type Patience, waitFor } from '../slow/patience';
import { MAX_MESSAGE } from './messages';

/** `sun_path` without the zero byte at its end. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/** The error if the agent has not answered. It may still do what it was asked. */
export class SilentAgentError extends Error {
  constructor() {
    super('The SSH agent has not responded.');
    this.name = 'SilentAgentError';
  }
}

/** The error if the agent has closed the connection instead of answering. */
export class ClosedAgentError extends Error {
  constructor(options?: ErrorOptions) {
    super('The SSH agent closed the connection.', options);
    this.name = 'ClosedAgentError';
  }
}

/** A connection to an SSH agent: one question at a time. */
export class AgentConnection {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #length = 0;
  #waiting: { resolve(answer: Uint8Array): void; reject(error: Error): void } | null = null;
  #failure: Error | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(new ClosedAgentError({ cause: error })));
    socket.on('close', () => this.#fail(new ClosedAgentError()));
  }

  /**
   * @param path of a Unix socket, or a named pipe on Windows
   * @throws NodeJS.ErrnoException; SilentAgentError
   */
  static async open(path: string, patience: Patience): Promise<AgentConnection> {
    assertShort(path);
    const socket = connect({ path });
    try {
      await waitFor(
        patience,
        new Promise<void>((resolve, reject) => {
          socket.once('error', reject);
          socket.once('connect', () => {
            socket.off('error', reject);
            resolve();
          });
        }),
        late,
      );
      return new AgentConnection(socket);
    } catch (error) {
      socket.on('error', () => {}); // an error may follow
      socket.destroy();
      throw error;
    }
  }

  /**
   * @param request without its length
   * @returns the answer, without its length
   * @throws SilentAgentError, ClosedAgentError; RangeError for anything that is not one message
   */
  async ask(request: Uint8Array, patience: Patience): Promise<Uint8Array> {
    const answer = new Promise<Uint8Array>((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      this.#waiting = { resolve, reject };
      this.#socket.write(Buffer.concat([u32(request.length), request]));
    });
    try {
      return await waitFor(patience, answer, late);
    } catch (error) {
      this.close(); // a late answer would be taken for the answer to another question
      throw error;
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    try {
      const answer = this.#add(chunk);
      if (answer === null) return;
      this.#waiting?.resolve(answer);
      this.#waiting = null;
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /**
   * @returns the answer, when it is complete
   * @throws RangeError for anything that is not one answer
   */
  #add(chunk: Buffer): Uint8Array | null {
    if (this.#waiting === null) throw new RangeError('a response to no request');
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < 4) return null;
    if ((this.#chunks[0] as Buffer).length < 4) this.#chunks = [Buffer.concat(this.#chunks)];
    const size = (this.#chunks[0] as Buffer).readUInt32BE(0);
    if (size === 0 || size > MAX_MESSAGE) throw new RangeError(`a message of ${size} bytes`);
    if (this.#length > 4 + size) throw new RangeError('more than one response');
    if (this.#length < 4 + size) return null;
    const answer = new Uint8Array(Buffer.concat(this.#chunks)).subarray(4);
    this.#chunks = [];
    this.#length = 0;
    return answer;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#socket.destroy();
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }
}

const late = () => new SilentAgentError();

/** Some versions of Node silently cut off a longer path, and connect to the socket with the shorter one. */
function assertShort(path: string): void {
  if (process.platform === 'win32' || Buffer.byteLength(path) <= MAX_PATH_BYTES) return;
  throw Object.assign(new Error('The path is too long for a socket.'), { code: 'ENAMETOOLONG' });
}
