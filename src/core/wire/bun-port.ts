/**
 * The port of the server that Bun hands to a handler behind the request; undefined on a Unix socket. Deno and Workers tell
 * nobody on which port a request came.
 */
export function bunPort(server: unknown): number | undefined {
  const { port, requestIP } = Object(server);
  return 'Bun' in globalThis && requestIP ? port : undefined;
}
