import { createServer } from 'node:http';
import * as https from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';

export interface ConnectProxyOptions {
  /** The names that only this proxy knows, and the port on loopback behind each. Everything else is a 502. */
  readonly names?: Readonly<Record<string, number>>;
  /** Asked for as `user:password`; default: nobody has to log in. */
  readonly login?: string;
  /** Speaks TLS itself. */
  readonly tls?: { readonly key: string; readonly cert: string };
  /** The status that every CONNECT gets, with the header lines given. */
  readonly refuse?: readonly [status: number, ...headers: string[]];
  /** The loopback address on which it listens and behind which all names lie; default 127.0.0.1. */
  readonly host?: '127.0.0.1' | '::1';
}

/** A proxy that takes CONNECT, as companies have it. */
export interface ConnectProxy {
  readonly port: number;
  /** `host:port` of each CONNECT, in order. */
  readonly asked: readonly string[];
  /** The Proxy-Authorization of each. */
  readonly logins: readonly (string | undefined)[];
  close(): Promise<void>;
}

export async function startConnectProxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const { names = {}, login, tls, refuse, host = '127.0.0.1' } = options;
  const asked: string[] = [];
  const logins: (string | undefined)[] = [];
  const sockets = new Set<Socket>();
  const server = tls === undefined ? createServer() : https.createServer({ ...tls });
  server.on('connection', (socket: Socket) => keep(socket));
  server.on('request', (_, response) => void response.writeHead(405).end());
  server.on('connect', ({ url = '', headers }, near: Socket, head: Buffer) => {
    asked.push(url);
    logins.push(headers['proxy-authorization']);
    near.on('error', () => {});
    const end = (status: number, ...more: string[]) =>
      near.end([`HTTP/1.1 ${status} No`, ...more, 'content-length: 0', '', ''].join('\r\n'));
    if (refuse !== undefined) return end(...(refuse as [number, ...string[]]));
    if (
      login !== undefined &&
      headers['proxy-authorization'] !== `Basic ${Buffer.from(login).toString('base64')}`
    )
      return end(407, 'proxy-authenticate: Basic realm="corp"');
    const { hostname } = new URL(`http://${url}`);
    const port = names[hostname];
    if (port === undefined) return end(502);
    const far = keep(connect(port, host));
    far.once('connect', () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (head.length > 0) far.write(head);
      far.pipe(near).pipe(far);
    });
    far.on('close', () => near.destroy());
    near.on('close', () => far.destroy());
  });

  function keep(socket: Socket): Socket {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    return socket;
  }

  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    logins,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
