import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** One address on loopback that leads to one of several servers, as a proxy or a name does. */
export interface TcpSwitch {
  readonly port: number;
  /** Leads new connections there. Those that are open are cut, or stay where they are. */
  leadTo(port: number, open: 'cut' | 'stay'): void;
  close(): Promise<void>;
}

export async function startTcpSwitch(toPort: number): Promise<TcpSwitch> {
  let target = toPort;
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
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
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    leadTo(port, open) {
      target = port;
      if (open === 'cut') cut();
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      cut();
      await closed;
    },
  };
}
