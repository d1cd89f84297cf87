/**
 * The port of the server object that Bun passes to a handler after the request; undefined on a Unix socket. Deno and
 * Workers do not reveal the port.
 */
export function bunPort(server: unknown): number | undefined {
  const { port, requestIP } = Object(server);
  return 'Bun' in globalThis && requestIP ? port : undefined;
}
