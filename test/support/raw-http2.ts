import type { OutgoingHttpHeaders } from 'node:http2';
import { connect, type TLSSocket } from 'node:tls';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7];
const [END_STREAM, END_HEADERS] = [1, 4];
const STREAM = 1;

/** A client of HTTP/2 with one stream, which sends any headers: Node's own client refuses many. */
export class RawHttp2Client {
  readonly socket: TLSSocket;
  readonly #frames: AsyncGenerator<{ readonly type: number; readonly payload: Buffer }>;

  constructor(port: number, ca: string) {
    this.socket = connect({ port, host: '127.0.0.1', ca, ALPNProtocols: ['h2'] });
    this.socket.on('error', () => {});
    this.socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)]));
    this.#frames = framesOf(this.socket);
  }

  /** Sends the headers of the request as given, pseudo-headers first; a list is sent as several lines. */
  request(headers: OutgoingHttpHeaders, { endStream = true } = {}): this {
    const names = Object.keys(headers).filter((name) => headers[name] !== undefined);
    names.sort((a, b) => Number(b.startsWith(':')) - Number(a.startsWith(':')));
    const lines = names.flatMap((name) => [headers[name]].flat().map((value) => line(name, String(value))));
    return this.#write(HEADERS, END_HEADERS | (endStream ? END_STREAM : 0), Buffer.concat(lines));
  }

  data(text: string): this {
    return this.#write(DATA, 0, Buffer.from(text));
  }

  /** Resets the stream, with an error code of HTTP/2; CANCEL if none is given. */
  reset(code = 8): this {
    return this.#write(RST_STREAM, 0, Buffer.from([0, 0, 0, code]));
  }

  #write(type: number, flags: number, payload: Buffer): this {
    this.socket.write(frame(type, flags, STREAM, payload));
    return this;
  }

  /** The status of the response; 0 if the server resets the stream, or ends the connection, before. */
  async status(): Promise<number> {
    for await (const { type, payload } of this.#frames) {
      if (type === HEADERS) return statusIn(payload);
      if (type === RST_STREAM || type === GOAWAY) return 0;
    }
    return 0;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A header as a literal without indexing, without Huffman coding (RFC 7541 section 6.2.2). */
function line(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  const length = [];
  let rest = bytes.length;
  if (rest < 127) length.push(rest);
  else {
    length.push(127);
    for (rest -= 127; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

async function* framesOf(socket: TLSSocket) {
  let received = Buffer.alloc(0);
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 9) {
      const end = 9 + received.readUIntBE(0, 3);
      if (received.length < end) break;
      yield { type: received[3] as number, payload: received.subarray(9, end) };
      received = received.subarray(end);
    }
  }
}

/** The statuses of the static table, from index 8 on (RFC 7541 appendix A). */
const STATUSES = [200, 204, 206, 304, 400, 404, 500];

/** The status with which a block of headers begins. */
function statusIn(block: Buffer): number {
  const [first = 0, length = 0] = block;
  if (first & 0x80) return STATUSES[(first & 0x7f) - 8] ?? Number.NaN;
  const value = block.subarray(2, 2 + (length & 0x7f));
  return Number(length & 0x80 ? digits(value) : value.toString());
}

/** Three digits in Huffman coding (RFC 7541 appendix B): 0 to 2 have five bits, the others six. */
function digits(bytes: Buffer): string {
  let bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  let found = '';
  while (found.length < 3) {
    const isShort = bits.startsWith('000');
    const code = Number.parseInt(bits.slice(0, isShort ? 5 : 6), 2);
    found += isShort ? code : code - 0x19 + 3;
    bits = bits.slice(isShort ? 5 : 6);
  }
  return found;
}
