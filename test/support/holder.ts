import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type ReceivedAnswer, receive } from './proofs';

/** What somebody between caller and target sends in place of an answer; null cuts the connection in mid-body. */
export type Change = (answer: ReceivedAnswer) => ReceivedAnswer | null | Promise<ReceivedAnswer | null>;

/** Somebody who holds the line between caller and target, and changes answers. */
export interface Holder {
  readonly port: number;
  /** What to do with the next answers. */
  change: Change;
  close(): Promise<void>;
}

/** A holder of the line to a server on loopback. It passes each request on as it is. */
export async function holdLine(toPort: number): Promise<Holder> {
  const server: Server = createServer(async (request, response) => {
    const body = Buffer.from(await text(request));
    const { host = '', ...headers } = request.headers as Record<string, string>;
    const view = { method: request.method ?? 'GET', target: request.url ?? '/', authority: host, headers };
    const answer = await receive(toPort, { ...view, ...(body.length > 0 && { body }) });
    const changed = await holder.change(answer);
    const { status, headers: lines, body: bytes } = changed ?? answer;
    const { 'transfer-encoding': _, connection, 'content-length': length, ...rest } = lines;
    const isBare = request.method === 'HEAD' || status === 204 || status === 304;
    const own =
      changed === null ? { 'content-length': bytes.length + 1 } : { 'content-length': bytes.length };
    response.sendDate = false;
    response.writeHead(status, {
      ...(rest as Record<string, string[]>),
      ...(isBare ? {} : own),
      connection: 'close',
    });
    if (changed === null) response.write(bytes, () => response.destroy());
    else response.end(bytes);
  });
  const holder: Holder = {
    port: 0,
    change: (answer) => answer,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(holder, { port: (server.address() as AddressInfo).port });
}
