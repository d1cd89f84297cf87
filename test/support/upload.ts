import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Signer } from '@authmesh/sdk/core';
import { head, RawClient, type RawResponse } from './raw-http';
import { signedRaw } from './signed-raw';

/** A body that is made while it is sent, so that nobody has to hold it. */
export interface Upload {
  readonly bytes: number;
  /** Whether the last byte is another than the one that was signed. */
  readonly flipsLastByte?: boolean;
  /** Sends less, and goes away. */
  readonly sendsOnly?: number;
  readonly framing?: 'content-length' | 'chunked';
}

const BLOCK = 65_536;

function* blocksOf({ bytes, flipsLastByte = false, sendsOnly = bytes }: Upload): Generator<Buffer> {
  for (let at = 0; at < sendsOnly; at += BLOCK) {
    const block = Buffer.alloc(Math.min(BLOCK, sendsOnly - at), (at / BLOCK) % 251);
    if (flipsLastByte && at + block.length === bytes) block[block.length - 1] = 0xff;
    yield block;
  }
}

const hashes = new Map<number, string>();

/** SHA-256 of what was signed, in hex. It depends on the number of bytes alone. */
export function hashOf({ bytes }: Upload): string {
  const known = hashes.get(bytes);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  for (const block of blocksOf({ bytes })) hash.update(block);
  const hex = hash.digest('hex');
  hashes.set(bytes, hex);
  return hex;
}

/** Sends it with a right signature over the right digest, and waits for the answer; null where none comes. */
export async function send(
  signer: Signer,
  port: number,
  upload: Upload,
  target = '/',
  contentType = 'application/octet-stream',
): Promise<RawResponse | null> {
  const { framing = 'content-length', bytes, sendsOnly } = upload;
  const digest = `sha-256=:${Buffer.from(hashOf(upload), 'hex').toString('base64')}:`;
  const { line, headers } = await signedRaw(signer, `127.0.0.1:${port}`, {
    method: 'POST',
    target,
    headers: { 'content-digest': digest, 'content-type': contentType },
  });
  const length = framing === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${bytes}`;
  const client = await RawClient.connect(port);
  try {
    client.write(head(line, [...headers, length]));
    for (const block of blocksOf(upload)) {
      if (client.error !== undefined || client.socket.destroyed) break;
      if (framing === 'chunked') client.socket.write(`${block.length.toString(16)}\r\n`);
      const isTaken = client.socket.write(block);
      if (framing === 'chunked') client.socket.write('\r\n');
      if (!isTaken) await drained(client.socket);
    }
    if (sendsOnly !== undefined) return null;
    if (framing === 'chunked') client.socket.write('0\r\n\r\n');
    return await client.response().catch(() => null);
  } finally {
    client.destroy();
  }
}

/** Resolves when there is room for more, or nobody to take it. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}
