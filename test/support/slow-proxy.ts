import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';

/** Stands before a server on loopback and passes its answers on later. */
export interface SlowProxy {
  readonly port: number;
  /** How much later, from now on. */
  delayMs: number;
  /** The port that new connections lead to. */
  toPort: number;
  /** Nothing more comes through the connections that there are, and neither side is told. New ones work. */
  freeze(): void;
  close(): Promise<void>;
}

export async function startSlowProxy(toPort: number): Promise<SlowProxy> {
  const sockets = new Set<Socket>();
  const frozen = new WeakSet<Socket>();
  const server = createServer((near) => {
    const far = connect(proxy.toPort, '127.0.0.1');
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    near.on('data', (chunk) => frozen.has(near) || far.write(chunk));
    let sent = Promise.resolve();
    far.on('data', (chunk) => {
      const pause = new Promise((resolve) => setTimeout(resolve, proxy.delayMs));
      // In their order, also when the delay has become shorter.
      sent = sent.then(() => pause).then(() => void (frozen.has(near) || near.write(chunk)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy: SlowProxy = {
    port: (server.address() as AddressInfo).port,
    delayMs: 0,
    toPort,
    freeze() {
      for (const socket of sockets) frozen.add(socket);
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
