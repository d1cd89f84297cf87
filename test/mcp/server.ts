import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { PassThrough } from 'node:stream';
import { createTestMesh, type TestCaller, type TestMesh } from '@authmesh/sdk/testing';
import { Bridge } from '../../src/cli/src/mcp/bridge';
import { noteRefusal } from '../../src/cli/src/mcp/remote';

/** What a server of a test does with one request, whose body is parsed already. */
export type Answer = (
  request: {
    method: string;
    headers: IncomingMessage['headers'];
    message: Record<string, unknown> | undefined;
  },
  response: ServerResponse,
) => unknown;

/** A message as JSON. */
export type Json = Record<string, unknown> & {
  id?: unknown;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
};

/** A bridge between two streams of a test and a server in memory behind verify(). */
export interface Bridged {
  readonly mesh: TestMesh;
  readonly caller: TestCaller;
  /** What the server was asked, in order: method, session and what else counts. */
  readonly asked: {
    method: string;
    message: Record<string, unknown> | undefined;
    headers: IncomingMessage['headers'];
  }[];
  readonly told: string[];
  /** Sends a message, or text or bytes as they are. */
  send(message: object | string): void;
  /** The next message that comes out. */
  next(): Promise<Json>;
  /** Sends a request and waits for the next message. */
  ask(message: object | string): Promise<Json>;
  /** Does `initialize` and the notification behind it. */
  begin(): Promise<void>;
  /** Closes the client's end, and waits for the bridge. */
  end(): Promise<void>;
  readonly controller: AbortController;
  readonly running: Promise<void>;
  readonly output: PassThrough;
}

export const initialize = {
  jsonrpc: '2.0',
  id: 'begin',
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
};
export const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };

export const json = (
  response: ServerResponse,
  body: unknown,
  headers: Record<string, string> = {},
  status = 200,
) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
export const result = (id: unknown, value: object = {}) => ({ jsonrpc: '2.0', id, result: value });

/** What a server does unless the test says otherwise: it begins sessions, takes notifications and has no stream. */
export const usual: Answer = ({ method, message }, response) => {
  if (method === 'GET') return response.writeHead(405).end();
  if (method === 'DELETE') return response.writeHead(204).end();
  if (message?.method === 'initialize') {
    const agreed = {
      protocolVersion: '2025-06-18',
      capabilities: { tools: {} },
      serverInfo: { name: 's', version: '1' },
    };
    return json(response, result(message.id, agreed), { 'mcp-session-id': 'session-1' });
  }
  if (message?.id === undefined || message.method === undefined) return response.writeHead(202).end();
  return json(response, result(message.id, { was: message.method }));
};

export async function bridge(
  answer: Answer = usual,
  { url = 'https://localhost', scopes = ['mcp'] }: { url?: string; scopes?: readonly string[] } = {},
): Promise<Bridged> {
  const mesh = await createTestMesh({ url });
  const asked: Bridged['asked'] = [];
  const verify = mesh.amesh.verify({ require: 'mcp' });
  const server = createServer((req, res) =>
    verify(req, res, async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const request = {
        method: req.method ?? '',
        headers: req.headers,
        message: text === '' ? undefined : JSON.parse(text),
      };
      asked.push(request);
      await answer(request, res);
    }),
  );
  const caller = await mesh.asCaller(server, { scopes, onRefusal: noteRefusal });
  const [input, output] = [new PassThrough(), new PassThrough()];
  const told: string[] = [];
  const controller = new AbortController();
  const lines: Json[] = [];
  const waiting: ((line: Json) => void)[] = [];
  let rest = '';
  output.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) {
      const line = JSON.parse(part) as Json; // nothing else may come out
      const waiter = waiting.shift();
      if (waiter === undefined) lines.push(line);
      else waiter(line);
    }
  });
  const running = new Bridge({
    url: new URL('/mcp', url),
    amesh: caller,
    input,
    output,
    tell: (line) => told.push(line),
    signal: controller.signal,
    waitMs: 1,
  }).run();
  running.catch(() => {});
  const bridged: Bridged = {
    mesh,
    caller,
    asked,
    told,
    controller,
    running,
    output,
    send: (message) =>
      void input.write(
        typeof message === 'string' || Buffer.isBuffer(message) ? message : `${JSON.stringify(message)}\n`,
      ),
    next: () => {
      const line = lines.shift();
      return line === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(line);
    },
    ask: (message) => {
      bridged.send(message);
      return bridged.next();
    },
    begin: async () => {
      await bridged.ask(initialize);
      bridged.send(initialized);
    },
    end: async () => {
      input.end();
      await running;
    },
  };
  return bridged;
}
