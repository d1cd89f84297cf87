import { getRequestListener } from '@hono/node-server';
import { isFull } from '../support/full';
import { listen } from '../support/listen';
import {
  type AskOptions,
  asking,
  type BodyAfter,
  type CheckedAnswer,
  checked,
  receive,
} from '../support/proofs';
import { requireRuntime, serverRuntimes, startServer } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { honoApp } from './servers/web-hono-app';

/** A server of test/answers/servers, on one runtime. */
export interface WebServer {
  readonly name: string;
  readonly runtime: Runtime['name'];
  readonly framework: 'hono' | 'fetch';
}

/** Every framework on every runtime that has fetch handlers; Hono only on Node where things are repeated less often than in CI. */
export const webServers: readonly WebServer[] = serverRuntimes.flatMap((runtime) =>
  (['hono', 'fetch'] as const)
    .filter((framework) => (runtime === 'node' ? framework === 'hono' : isFull || framework === 'fetch'))
    .map((framework) => ({
      name: framework === 'hono' ? `Hono on ${runtime}` : `a fetch handler on ${runtime}`,
      runtime,
      framework,
    })),
);

/** Starts one; null where its runtime is not installed. */
export async function startWebServer({ runtime, framework }: WebServer) {
  if (runtime === 'node') return listen(getRequestListener(honoApp().fetch));
  const found = await requireRuntime(runtime);
  return found && startServer(found, `test/answers/servers/web-${framework}.ts`);
}

/** How a test asks. */
export interface Ask extends AskOptions {
  readonly method?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: Uint8Array | undefined;
  /** What is sent in place of the body that is signed; of the same length. */
  readonly sentBody?: Uint8Array | undefined;
  readonly bodyAfter?: BodyAfter;
  /** Where to send it, if not to the server itself. */
  readonly through?: number;
}

/** Asks for a signed answer, and checks what comes. */
export async function ask(
  port: number,
  target: string,
  { method = 'GET', headers = {}, through = port, body, sentBody = body, bodyAfter, ...options }: Ask = {},
): Promise<CheckedAnswer> {
  const view = { method, target, authority: `127.0.0.1:${port}`, headers, ...(body && { body }) };
  const created = Math.floor(Date.now() / 1000);
  const { request, expected } = await asking(view, { created, ...options });
  return checked(await receive(through, { ...request, body: sentBody }, bodyAfter), expected);
}
