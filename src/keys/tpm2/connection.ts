import { once } from 'node:events';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';

/** The most bytes in a command or a response (TPM_PT_MAX_RESPONSE_SIZE of every TPM is 4,096). */
const MAX_BYTES = 4096;
const SIZE_AT = 2;

/** The address of a TPM. */
export type TpmAddress =
  | { readonly kind: 'device'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Sends commands to a TPM, one at a time. */
export interface TpmConnection {
  /** @returns the whole response */
  send(command: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** The default: the kernel shares this one among programs. */
export const RESOURCE_MANAGER = '/dev/tpmrm0';

/**
 * Reads AMESH_TPM: `device:/dev/tpmrm0`, or `tcp:host:port` for a software TPM.
 *
 * @returns null for any other text
 */
export function parseAddress(text: string): TpmAddress | null {
  const [, path] = /^device:(\/[\x21-\x7e]+)$/.exec(text) ?? [];
  if (path !== undefined) return { kind: 'device', path };
  const [, host, port] = /^tcp:(\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+):([1-9]\d{0,4})$/.exec(text) ?? [];
  if (host === undefined || Number(port) > 65_535) return null;
  return { kind: 'tcp', host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/**
 * @param signal closes a connection that is too slow, which would keep the process alive. A thread that waits for a device cannot
 *   be stopped
 * @throws NoDeviceError; what opening the device or the connection throws
 */
export async function openConnection(address: TpmAddress, signal: AbortSignal): Promise<TpmConnection> {
  if (address.kind === 'device') return new DeviceConnection(await openDevice(address.path));
  return new TcpConnection(await dial(address.host, address.port, signal));
}

/** The error if AMESH_TPM does not name a device: a command would overwrite that file. */
export class NoDeviceError extends Error {
  constructor(path: string) {
    super(`${path} is not a character device.`);
    this.name = 'NoDeviceError';
  }
}

async function openDevice(path: string): Promise<FileHandle> {
  // Checked before opening, since that waits at a FIFO and has an effect on some devices; and after it, since the path may have
  // changed.
  if (!(await stat(path)).isCharacterDevice()) throw new NoDeviceError(path);
  const device = await open(path, 'r+');
  if ((await device.stat()).isCharacterDevice()) return device;
  await device.close();
  throw new NoDeviceError(path);
}

/** The driver takes a command in one write, and returns its response in one read. */
class DeviceConnection implements TpmConnection {
  constructor(private readonly device: FileHandle) {}

  async send(command: Uint8Array): Promise<Uint8Array> {
    await this.device.write(command, 0, command.length, null);
    const { bytesRead, buffer } = await this.device.read(new Uint8Array(MAX_BYTES), 0, MAX_BYTES, null);
    return buffer.subarray(0, bytesRead);
  }

  async close(): Promise<void> {
    await this.device.close();
  }
}

class TcpConnection implements TpmConnection {
  #received = Buffer.alloc(0);
  #waiting: { resolve(bytes: Uint8Array): void; reject(error: Error): void } | null = null;
  #failure: Error | null = null;

  constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () =>
      this.#fail(Object.assign(new Error('The TPM closed the connection.'), { code: 'ECONNRESET' })),
    );
  }

  send(command: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      this.#received = Buffer.alloc(0);
      this.#waiting = { resolve, reject };
      this.socket.write(command);
    });
  }

  /** A software TPM serves the next program when this connection is really closed. */
  async close(): Promise<void> {
    if (this.socket.closed) return;
    const closed = once(this.socket, 'close');
    this.socket.destroy();
    await closed;
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    if (this.#received.length < SIZE_AT + 4) return;
    const size = this.#received.readUInt32BE(SIZE_AT);
    if (size > MAX_BYTES || this.#received.length > size) {
      this.#fail(new RangeError('The TPM responded with more bytes than a response has.'));
    } else if (this.#received.length === size) {
      this.#waiting?.resolve(new Uint8Array(this.#received));
      this.#waiting = null;
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.socket.destroy();
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }
}

function dial(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    signal.addEventListener('abort', () => socket.destroy(new Error('The TPM has not responded in time.')));
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}
