import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { upgradeWebSocket } from '@hono/node-server';
import { Hono, type MiddlewareHandler } from 'hono';
import type { WebSocket } from 'ws';
import { toLimitKey } from '../limits/address';
import type { ClientAddress } from './client-address';

/** The context of a handler of {@link Relay.app}: Node's request. */
export interface RelayEnv {
  Bindings: { incoming: IncomingMessage };
}

export type RelayApp = Hono<RelayEnv>;

export interface AppOptions {
  readonly clientAddress: ClientAddress;
  /** `ready`, or why new clients are not served. */
  readonly status: () => 'ready' | 'draining' | 'unavailable';
  /** In the text format of Prometheus. */
  readonly metrics: () => string;
  /** Makes space for one more socket. @returns false if there are too many sockets even for refusals */
  readonly makeSpace: () => boolean;
  readonly countRefusedUpgrade: () => void;
  /** @param address the key that limits count by */
  readonly attach: (socket: WebSocket, connection: Socket, address: string) => void;
}

/** What the relay serves over HTTP: `GET /ws`, `/health`, `/ready` and `/metrics`. */
export function createApp(options: AppOptions): RelayApp {
  const app: RelayApp = new Hono();
  app.get('/health', (c) => c.json({ status: 'ok' }));
  app.get('/ready', (c) => {
    const status = options.status();
    return c.json({ status }, status === 'ready' ? 200 : 503);
  });
  app.get('/metrics', (c) =>
    c.text(options.metrics(), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  );
  app.get(
    '/ws',
    refuseUpgrades(options),
    upgradeWebSocket((c) => {
      const address = toLimitKey(options.clientAddress(c.env.incoming));
      const connection = c.env.incoming.socket;
      return {
        onOpen(_, { raw }) {
          const socket = raw as unknown as WebSocket;
          // When this returns, the library adds its own listeners. They would keep the upgrade request in memory while the
          // socket is open: 3 KB for each of ten thousand sockets.
          queueMicrotask(() => {
            socket.removeAllListeners();
            options.attach(socket, connection, address);
          });
        },
      };
    }),
    // The response to a browser or curl.
    (c) => c.text('This is a WebSocket.', 426, { upgrade: 'websocket' }),
  );
  return app;
}

function refuseUpgrades(options: AppOptions): MiddlewareHandler<RelayEnv> {
  return async (c, next) => {
    // Only browsers send Origin, and no web page may use the relay.
    const isBrowser = c.req.header('origin') !== undefined;
    if (!isBrowser && options.makeSpace()) return next();
    options.countRefusedUpgrade();
    return new Response(null, { status: isBrowser ? 403 : 503 });
  };
}
