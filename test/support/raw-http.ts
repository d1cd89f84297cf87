import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';

/** A response as it came over the wire. */
export interface RawResponse {
  readonly status: number;
  /** By lower-case name; lines of the same name are joined by a comma and a space. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A client that writes what it is told, byte for byte, so that a test can send what no HTTP library would. */
export class RawClient {
  readonly socket: Socket;
  /** What went wrong with the connection, if anything. */
  error: NodeJS.ErrnoException | undefined;
  #received = Buffer.alloc(0);
  #ended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      socket.emit('progress');
    });
    socket.on('error', (error) => {
      this.error = error;
    });
    socket.on('close', () => {
      this.#ended = true;
      socket.emit('progress');
    });
    socket.on('end', () => {
      this.#ended = true;
      socket.emit('progress');
    });
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1' });
    const client = new RawClient(socket);
    await once(socket, 'connect');
    return client;
  }

  /** Writes as it is, text as Latin-1; does not wait for anything. */
  write(...parts: (string | Uint8Array)[]): this {
    for (const part of parts)
      this.socket.write(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
    return this;
  }

  /**
   * The next response, interim ones (1xx) included.
   *
   * @param to the method of the request: a response to HEAD has no body
   */
  async response(to = 'GET'): Promise<RawResponse> {
    for (;;) {
      const parsed = parse(this.#received, this.#ended, to);
      if (parsed !== null) {
        this.#received = this.#received.subarray(parsed.bytes);
        return parsed.response;
      }
      if (this.#ended) throw new Error(`The connection ended without a response. ${this.error ?? ''}`);
      await this.#progress();
    }
  }

  /** Whether the server has closed the connection; waits for it. */
  async closed(): Promise<void> {
    while (!this.#ended) await this.#progress();
  }

  /** Whether the server has said anything yet. */
  get isAnswered(): boolean {
    return this.#received.length > 0;
  }

  /** The next bytes or the end; an error comes before an end, and what has arrived before it counts. */
  #progress(): Promise<void> {
    return new Promise((resolve) => this.socket.once('progress', resolve));
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/**
 * Sends one request on a connection of its own. Like any good client it stops where the answer comes before the end:
 * a server may close behind it, and what is written then breaks the connection before the answer has been read.
 */
export async function exchange(port: number, ...parts: (string | Uint8Array)[]): Promise<RawResponse> {
  const client = await RawClient.connect(port);
  try {
    for (const part of parts) {
      if (client.isAnswered) break;
      client.write(part);
      await setImmediate();
    }
    return await client.response(/^HEAD /.test(String(parts[0])) ? 'HEAD' : 'GET');
  } finally {
    client.destroy();
  }
}

/** The head of a request: its line, its header lines as given, and the empty line. */
export function head(line: string, headers: Readonly<Record<string, string>> | readonly string[]): string {
  const lines = Array.isArray(headers)
    ? headers
    : Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [line, ...lines, '', ''].join('\r\n');
}

function parse(
  received: Buffer,
  ended: boolean,
  to: string,
): { response: RawResponse; bytes: number } | null {
  const end = received.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1]);
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(':')).toLowerCase();
    const value = line.slice(line.indexOf(':') + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  const rest = received.subarray(end + 4);
  const found = body(rest, headers, ended, status < 200 || status === 204 || status === 304 || to === 'HEAD');
  if (found === null) return null;
  return { response: { status, headers, body: found.text }, bytes: end + 4 + found.bytes };
}

function body(
  rest: Buffer,
  headers: Readonly<Record<string, string>>,
  ended: boolean,
  none: boolean,
): { text: string; bytes: number } | null {
  if (none) return { text: '', bytes: 0 };
  if (headers['transfer-encoding'] === 'chunked') {
    let at = 0;
    let text = '';
    for (;;) {
      const lineEnd = rest.indexOf('\r\n', at);
      if (lineEnd === -1) return null;
      const size = Number.parseInt(rest.subarray(at, lineEnd).toString('latin1'), 16);
      const next = lineEnd + 2 + size + 2;
      if (rest.length < next) return null;
      text += rest.subarray(lineEnd + 2, next - 2).toString();
      at = next;
      if (size === 0) return { text, bytes: at };
    }
  }
  const length = headers['content-length'];
  if (length !== undefined) {
    const bytes = Number(length);
    return rest.length < bytes ? null : { text: rest.subarray(0, bytes).toString(), bytes };
  }
  return ended ? { text: rest.toString(), bytes: rest.length } : null;
}
