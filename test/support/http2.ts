import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type Http2SecureServer,
  type Http2Server,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import type { RawResponse } from './raw-http';

/** A server of node:http2 on a free loopback port, and a session with it. */
export interface Http2Pair {
  readonly port: number;
  /** A new one where the last has ended: newer Nodes end the session of a peer that floods it. */
  readonly session: ClientHttp2Session;
  close(): Promise<void>;
}

export async function connectHttp2(server: Http2Server | Http2SecureServer, ca?: string): Promise<Http2Pair> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const open = () =>
    connect(`${ca === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, ca === undefined ? {} : { ca }).on(
      'error',
      () => {}, // its streams say so too
    );
  let session = open();
  await once(session, 'connect');
  return {
    port,
    get session() {
      if (session.closed || session.destroyed) session = open();
      return session;
    },
    async close() {
      session.destroy();
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy(); // who was flooded has much to read until it hears of an end
      await closed;
    },
  };
}

/** The response on a stream, to its end. */
export async function http2Response(stream: ClientHttp2Stream): Promise<RawResponse> {
  const [head] = await once(stream, 'response');
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(head)) if (!name.startsWith(':')) headers[name] = String(value);
  let body = '';
  for await (const chunk of stream.setEncoding('utf8')) body += chunk;
  return { status: head[':status'], headers, body };
}

/** One request on a session: without a body, its headers end it. */
export function http2Exchange(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: Uint8Array,
): Promise<RawResponse> {
  const stream = session.request(headers, { endStream: body === undefined });
  if (body !== undefined) stream.end(body);
  return http2Response(stream);
}
