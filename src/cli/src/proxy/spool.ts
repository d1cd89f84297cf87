import { createHash, randomBytes } from 'node:crypto';
import { constants, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { CommandError } from '../errors/errors';
import { ProxyFault } from './fault';

/** The most of one body that is kept in memory, in bytes. It is also the default of `maxBodyBytes` of `verify()`. */
export const MEMORY_BYTES = 1_048_576;

/** The most bodies that are in files at once. */
const MAX_FILES = 64;

const MAX_CHUNKS = 4096;

/** A complete body. */
export interface Gathered {
  readonly lengthBytes: number;
  /** The bytes, if they are in memory. */
  readonly bytes: Buffer | undefined;
  /** For a body in a file: `sha-256=:…:`, the value of Content-Digest. Other bodies can be hashed from their bytes. */
  readonly digest: string | undefined;
  /** Returns a stream of all bytes, from the beginning. */
  open(): Readable;
  /** Releases the memory or the file. Always call it, once. */
  release(): Promise<void>;
}

/** How much a {@link Spool} may store, in bytes. */
export interface SpoolLimits {
  /** The largest body. */
  readonly maxBodyBytes: number;
  /** The most for all bodies in files together. */
  readonly maxTotalBytes: number;
}

/**
 * Keeps bodies until they are complete: small ones in memory, others in files that only this user can read. A file has no name once
 * it is open, so nothing of it is left when the process ends, however it ends.
 */
export class Spool {
  readonly #dir: string;
  readonly #limits: SpoolLimits;
  #totalBytes = 0;
  #files = 0;

  private constructor(dir: string, limits: SpoolLimits) {
    this.#dir = dir;
    this.#limits = limits;
  }

  /**
   * Makes the folder, or checks that only this user can use it, and removes files that a crash has left in it.
   *
   * @throws CommandError `spool_unsafe`
   */
  static open(dir: string, limits: SpoolLimits): Spool {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const found = lstatSync(dir);
    const isOwn = found.isDirectory() && found.uid === (process.geteuid?.() ?? found.uid);
    if (!isOwn || (process.platform !== 'win32' && (found.mode & 0o077) !== 0))
      throw new CommandError(
        'spool_unsafe',
        `Others can use the folder for large bodies, ${dir}.`,
        'Use a folder of this user alone, mode 0700: --spool DIR',
      );
    for (const name of readdirSync(dir)) if (isOfSpool(name)) rmSync(join(dir, name), { force: true });
    return new Spool(dir, limits);
  }

  /** How many bodies are in files now, and their bytes. */
  get usage(): { readonly files: number; readonly bytes: number } {
    return { files: this.#files, bytes: this.#totalBytes };
  }

  /**
   * Reads a body to its end.
   *
   * @param announced the announced length in bytes, if it is known
   * @throws ProxyFault `payload_too_large`, `spool_full`; what the stream throws
   */
  async gather(source: Readable, announced = 0): Promise<Gathered> {
    this.#check(announced);
    if (announced > 0 && announced <= MEMORY_BYTES) return held(await readWhole(source, announced));
    const hash = createHash('sha256');
    const chunks: Buffer[] = [];
    let lengthBytes = 0;
    let file: SpoolFile | undefined;
    try {
      // Leaving the loop must not destroy the request: its caller still gets a response.
      for await (const chunk of source.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        lengthBytes += chunk.length;
        this.#check(lengthBytes);
        hash.update(chunk);
        if (lengthBytes <= MEMORY_BYTES) {
          // Each chunk costs more than its bytes, and a client may send single ones.
          if (chunks.length >= MAX_CHUNKS) chunks.push(Buffer.concat(chunks.splice(0)));
          chunks.push(chunk);
          continue;
        }
        file ??= await this.#openFile(chunks);
        await this.#append(file, chunk);
      }
    } catch (error) {
      await this.#close(file);
      throw error;
    }
    const digest = `sha-256=:${hash.digest('base64')}:`;
    const spooled = file;
    if (spooled === undefined) return held(Buffer.concat(chunks));
    return {
      lengthBytes,
      bytes: undefined,
      digest,
      open: () => spooled.handle.createReadStream({ start: 0, autoClose: false }),
      release: () => this.#close(spooled),
    };
  }

  #check(lengthBytes: number): void {
    const { maxBodyBytes } = this.#limits;
    if (lengthBytes > maxBodyBytes)
      throw new ProxyFault(413, 'payload_too_large', `The body is larger than ${maxBodyBytes} bytes.`);
  }

  async #openFile(before: Buffer[]): Promise<SpoolFile> {
    if (this.#files >= MAX_FILES) throw full(`${MAX_FILES} large bodies are under way already.`);
    this.#files++;
    const file: SpoolFile = { handle: await this.#create(), lengthBytes: 0 };
    try {
      for (const chunk of before.splice(0)) await this.#append(file, chunk);
      return file;
    } catch (error) {
      await this.#close(file);
      throw error;
    }
  }

  async #create(): Promise<FileHandle> {
    const path = join(this.#dir, `body-${randomBytes(12).toString('hex')}`);
    const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW = 0 } = constants;
    try {
      const handle = await open(path, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600);
      await unlink(path).catch(async (error) => {
        await handle.close().catch(() => {});
        throw error;
      });
      return handle;
    } catch (error) {
      this.#files--;
      throw full(`The folder for large bodies cannot be used: ${(error as Error).message}.`);
    }
  }

  async #append(file: SpoolFile, chunk: Buffer): Promise<void> {
    if (this.#totalBytes + chunk.length > this.#limits.maxTotalBytes)
      throw full(`The large bodies that are under way have ${this.#limits.maxTotalBytes} bytes.`);
    this.#totalBytes += chunk.length;
    file.lengthBytes += chunk.length;
    try {
      await file.handle.writeFile(chunk); // appended to the bytes that were written before
    } catch (error) {
      throw full(`The folder for large bodies cannot be written: ${(error as Error).message}.`);
    }
  }

  async #close(file: SpoolFile | undefined): Promise<void> {
    if (file === undefined || file.isClosed) return;
    file.isClosed = true;
    this.#files--;
    this.#totalBytes -= file.lengthBytes;
    await file.handle.close();
  }
}

interface SpoolFile {
  readonly handle: FileHandle;
  lengthBytes: number;
  isClosed?: boolean;
}

function held(bytes: Buffer): Gathered {
  return {
    lengthBytes: bytes.length,
    bytes,
    digest: undefined,
    open: () => Readable.from([bytes]),
    release: async () => {},
  };
}

/** Reads a body whose length the parser checks. An iterator would cost more than all the rest. */
function readWhole(source: Readable, lengthBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    source.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > lengthBytes) return void source.destroy(new Error('The body is longer than announced.'));
      // Each chunk costs more than its bytes, and a client may send single ones.
      if (chunks.length >= MAX_CHUNKS) chunks.push(Buffer.concat(chunks.splice(0)));
      chunks.push(chunk);
    });
    source.on('end', () => {
      if (bytes === lengthBytes) resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
      else reject(new Error('The body is shorter than announced.'));
    });
    const fail = (error?: Error) => reject(error ?? new Error('The body ended early.'));
    source.on('error', fail).on('close', fail);
    if (source.destroyed) fail();
  });
}

function isOfSpool(name: string): boolean {
  return /^body-[0-9a-f]{24}$/.test(name);
}

function full(detail: string): ProxyFault {
  return new ProxyFault(503, 'spool_full', detail);
}
