import { once } from 'node:events';
import { createServer } from 'node:net';
import { threadId } from 'node:worker_threads';

/** Below the ports that an operating system gives to connections and to `listen(0)`: Linux from 32,768, macOS from 49,152. */
const FIRST = 10_000;
const COUNT = 20_000;
const PER_PROCESS = 64;

let given = ((process.pid + threadId) * PER_PROCESS) % COUNT;

/**
 * A loopback port for a program that has to be told one, or that starts again on it. A port of `listen(0)` that was closed may
 * belong to a connection of another test before the program binds it.
 *
 * @param count how many ports beside each other are free, from the one that is returned
 */
export async function freePort(count = 1): Promise<number> {
  for (let tried = 0; tried < COUNT; tried += count) {
    const port = FIRST + (given % COUNT);
    given += count;
    const ports = Array.from({ length: count }, (_, i) => port + i);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return port;
  }
  throw new Error(`No loopback port from ${FIRST} to ${FIRST + COUNT - 1} is free.`);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}
