/** @param server what the runtime passes on: the server of Bun, what Deno knows of the connection, a Worker's bindings */
export type Fetch = (request: Request, server?: unknown) => Response | Promise<Response>;

/** What this needs of the runtimes, none of which brings its types here. */
declare const Bun: { serve(options: { port: number; hostname: string; fetch: Fetch }): { port: number } };
declare const Deno: {
  serve(
    options: { port: number; hostname: string; onListen(address: { port: number }): void },
    fetch: Fetch,
  ): unknown;
};

/**
 * Serves a handler on a free loopback port of Bun or Deno, and prints the port. workerd, which listens by itself, gets
 * what it takes as a module's default export.
 */
export function serve(fetch: Fetch): { fetch: Fetch } | undefined {
  const hostname = '127.0.0.1';
  const say = ({ port }: { port: number }) => console.log(`listening ${port}`);
  if ('Bun' in globalThis) say(Bun.serve({ port: 0, hostname, fetch }));
  else if ('Deno' in globalThis) Deno.serve({ port: 0, hostname, onListen: say }, fetch);
  else return { fetch };
  return undefined;
}
