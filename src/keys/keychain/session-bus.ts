import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** The bus refused a call. */
export class BusError extends Error {
  /**
   * Creates the error for one reply.
   *
   * @param code the name of the error, such as `org.freedesktop.DBus.Error.ServiceUnknown`
   */
  constructor(readonly code: string) {
    super(`The session bus responded with ${code}.`);
  }
}

/** A method of an object on the bus. */
export interface BusCall {
  readonly destination: string;
  readonly path: string;
  /** The interface and the method, separated by the last full stop. */
  readonly method: string;
  /** Its arguments: texts only. */
  readonly args?: readonly string[];
}

/** A session bus answers immediately, but it may have to start the service first. */
const DEADLINE_MS = 10_000;
/** No reply that amesh asks for is longer. */
const MAX_REPLY_BYTES = 65_536;

/**
 * Calls methods on a D-Bus, one after the other. It exists because only a call can tell whether a keychain is locked
 * without asking the user to unlock it.
 *
 * @param address like DBUS_SESSION_BUS_ADDRESS
 * @returns the first value of each reply: a text or a boolean
 * @throws BusError; an Error of the system, or for a bus that breaks the protocol or does not answer within 10 s
 * @see https://dbus.freedesktop.org/doc/dbus-specification.html
 */
export async function withSessionBus<T>(
  address: string,
  use: (call: (call: BusCall) => Promise<string | boolean>) => Promise<T>,
): Promise<T> {
  const socket = connect({ path: socketPath(address) });
  const timer = setTimeout(
    () => socket.destroy(new Error('The session bus has not responded for 10 s.')),
    DEADLINE_MS,
  );
  try {
    const read = readerOf(socket);
    await once(socket, 'connect');
    const uid = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex');
    socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    const answer = await readLine(read);
    if (!answer.startsWith('OK ')) throw new BusError(answer.split(' ')[0] as string);
    socket.write('BEGIN\r\n');
    let serial = 0;
    const call = async (wanted: BusCall) => {
      serial++;
      socket.write(toMessage(wanted, serial));
      for (;;) {
        const reply = await readMessage(read);
        if (reply.replyTo === serial) return firstValue(reply);
      }
    };
    await call({ ...BUS, method: 'org.freedesktop.DBus.Hello' });
    return await use(call);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

const BUS = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' };

/** The socket of the first address with one. Node writes the name of an abstract socket with a leading zero byte. */
function socketPath(addresses: string): string {
  for (const address of addresses.split(';')) {
    const [, kind, value] = /^unix:(?:.*,)?(path|abstract)=([^,]*)/.exec(address) ?? [];
    if (value !== undefined) return (kind === 'abstract' ? '\0' : '') + decodeURIComponent(value);
  }
  throw new Error('DBUS_SESSION_BUS_ADDRESS names no Unix socket.');
}

type Read = (count: number) => Promise<Buffer>;

function readerOf(socket: Socket): Read {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let kept = Buffer.alloc(0);
  return async (count) => {
    while (kept.length < count) {
      const { value, done } = await chunks.next();
      if (done) throw new Error('The session bus closed the connection.');
      kept = Buffer.concat([kept, value]);
    }
    const bytes = kept.subarray(0, count);
    kept = kept.subarray(count);
    return bytes;
  };
}

async function readLine(read: Read): Promise<string> {
  let line = '';
  while (!line.endsWith('\r\n') && line.length < 1024) line += (await read(1)).toString('latin1');
  return line.trimEnd();
}

/** The types of header fields. */
const FIELD = {
  path: 1,
  interface: 2,
  member: 3,
  errorName: 4,
  replySerial: 5,
  destination: 6,
  signature: 8,
};
const REPLY = 2;
const ERROR = 3;

function toMessage({ destination, path, method, args = [] }: BusCall, serial: number): Buffer {
  const dot = method.lastIndexOf('.');
  const body = new Writer();
  for (const arg of args) body.text(arg);
  const header = new Writer();
  header.bytes('l'.charCodeAt(0), 1, 0, 1); // little-endian, a call, no flags, version 1
  header.number(body.length).number(serial);
  const fields: [number, string, string][] = [
    [FIELD.path, 'o', path],
    [FIELD.interface, 's', method.slice(0, dot)],
    [FIELD.member, 's', method.slice(dot + 1)],
    [FIELD.destination, 's', destination],
    ...(args.length === 0
      ? []
      : [[FIELD.signature, 'g', 's'.repeat(args.length)] as [number, string, string]]),
  ];
  const list = new Writer();
  for (const [code, type, value] of fields) {
    list.align(8).bytes(code).signature(type);
    if (type === 'g') list.signature(value);
    else list.text(value);
  }
  // The list begins at byte 16, so it can be aligned on its own, and is then aligned in the message.
  header.number(list.length).raw(list.done()).align(8).raw(body.done());
  return header.done();
}

interface Message {
  readonly type: number;
  readonly replyTo: number;
  readonly fields: ReadonlyMap<number, string | number>;
  readonly body: Buffer;
}

async function readMessage(read: Read): Promise<Message> {
  const start = await read(16);
  const bodyLength = start.readUInt32LE(4);
  const listLength = start.readUInt32LE(12);
  if (start[0] !== 0x6c || bodyLength + listLength > MAX_REPLY_BYTES)
    throw new Error('The session bus sent something other than a D-Bus message.');
  const list = (await read(listLength + (-listLength & 7))).subarray(0, listLength);
  const body = await read(bodyLength);
  const fields = new Map<number, string | number>();
  for (let at = 0; at < list.length; ) {
    at += -at & 7;
    const code = list.readUInt8(at);
    const type = String.fromCharCode(list.readUInt8(at + 2));
    at += 4;
    at += type === 'g' ? 0 : -at & 3;
    if (type === 'u') {
      fields.set(code, list.readUInt32LE(at));
      at += 4;
      continue;
    }
    const [length, size] = type === 'g' ? [list.readUInt8(at), 1] : [list.readUInt32LE(at), 4];
    fields.set(code, list.toString('utf8', at + size, at + size + length));
    at += size + length + 1;
  }
  return { type: start[1] as number, replyTo: Number(fields.get(FIELD.replySerial)), fields, body };
}

/** The first value of a reply; the content, if that is a variant. */
function firstValue({ type, fields, body }: Message): string | boolean {
  if (type === ERROR) throw new BusError(String(fields.get(FIELD.errorName)));
  const signature = String(fields.get(FIELD.signature) ?? '');
  const isVariant = signature.startsWith('v');
  const kind = isVariant ? String.fromCharCode(body.readUInt8(1)) : signature[0];
  if (type !== REPLY || kind === undefined) return '';
  const at = isVariant ? 4 : 0; // a signature of one character takes three bytes
  if (kind === 'b') return body.readUInt32LE(at) === 1;
  return body.toString('utf8', at + 4, at + 4 + body.readUInt32LE(at));
}

/** Writes values as D-Bus aligns them, little-endian. */
class Writer {
  readonly #parts: Buffer[] = [];
  length = 0;

  raw(bytes: Buffer): this {
    this.#parts.push(bytes);
    this.length += bytes.length;
    return this;
  }

  bytes(...values: number[]): this {
    return this.raw(Buffer.from(values));
  }

  align(size: number): this {
    return this.raw(Buffer.alloc(-this.length & (size - 1)));
  }

  number(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.align(4).raw(bytes);
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    return this.number(bytes.length).raw(bytes).bytes(0);
  }

  signature(value: string): this {
    return this.bytes(value.length).raw(Buffer.from(value)).bytes(0);
  }

  done(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
