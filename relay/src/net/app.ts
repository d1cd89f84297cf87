import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { upgradeWebSocket } from '@hono/node-server';
import { Hono } from 'hono';
import type { WebSocket } from 'ws';
import { toLimitKey } from '../limits/address';
import type { ClientAddress } from './client-address';

/** What a handler of {@link Relay.app} finds in its context: the request as Node has it. */
export interface RelayEnv {
  Bindings: { incoming: IncomingMessage };
}

export type RelayApp = Hono<RelayEnv>;

export interface AppOptions {
  readonly clientAddress: ClientAddress;
  /** Whether newcomers are served, or why not. */
  readonly status: () => 'ready' | 'draining' | 'unavailable';
  /** In the text format of Prometheus. */
  readonly metrics: () => string;
  /** Whether there is a limit to how many can be told in a frame, and it is reached. */
  readonly isOverfull: () => boolean;
  readonly countRefusedUpgrade: () => void;
  /** @param address what limits count by */
  readonly attach: (socket: WebSocket, connection: Socket, address: string) => void;
}

/** What a relay answers over HTTP: `GET /ws`, `/health`, `/ready` and `/metrics`. */
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
    async (c, next) => {
      const status = refusalOf(c.req.header('origin'));
      if (status === undefined) return next();
      options.countRefusedUpgrade();
      return new Response(null, { status });
    },
    upgradeWebSocket((c) => {
      const address = toLimitKey(options.clientAddress(c.env.incoming));
      const connection = c.env.incoming.socket;
      return {
        onOpen(_, { raw }) {
          const socket = raw as unknown as WebSocket;
          // The listeners that are added after this one would keep the request of each upgrade in memory for as long
          // as its socket is open: 3 KB, ten thousand times.
          queueMicrotask(() => {
            socket.removeAllListeners();
            options.attach(socket, connection, address);
          });
        },
      };
    }),
    // Somebody who looks at it with a browser or curl.
    (c) => c.text('This is a WebSocket.', 426, { upgrade: 'websocket' }),
  );
  return app;

  function refusalOf(origin: string | undefined): number | undefined {
    // Only browsers send it, and no page has any business here.
    if (origin !== undefined) return 403;
    return options.isOverfull() ? 503 : undefined;
  }
}
