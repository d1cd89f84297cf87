import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { listen } from './listen';
import { type RuntimeServer, startServer } from './runtime-server';
import { findRuntime } from './runtimes';

/** What stands behind a KV binding of workerd: it reads and writes by HTTP, here at a service of ours. */
export interface Kv {
  /** What is stored under allow_list.json; null for nothing, and `down` for a store that fails. */
  value: string | null | 'down';
  /** The other stored values, by key. */
  readonly pages: Map<string, string>;
  /** How many times the list was read. */
  reads: number;
  readonly port: number;
  close(): Promise<void>;
}

export async function startKv(value: string | null): Promise<Kv> {
  const server = await listen(
    createServer(async (request, response) => {
      const { pathname } = new URL(request.url as string, 'http://kv');
      const key = decodeURIComponent(pathname.slice(1));
      const isList = key === 'allow_list.json';
      if (request.method === 'PUT' && kv.value !== 'down') {
        const body = await text(request);
        if (isList) kv.value = body;
        else kv.pages.set(key, body);
        response.end();
        return;
      }
      if (isList) kv.reads++;
      const found = isList ? kv.value : (kv.pages.get(key) ?? null);
      if (kv.value === 'down') response.writeHead(500).end();
      else if (found === null) response.writeHead(404).end();
      else response.end(found);
    }),
  );
  const kv: Kv = { value, pages: new Map(), reads: 0, port: server.port, close: server.close };
  return kv;
}

export interface WorkerOptions {
  readonly kv?: Kv;
  readonly nonces?: 'in memory' | { readonly folder: string };
  /** Default: the one of the tests. */
  readonly script?: string;
  /** Takes the built packages and not the sources. */
  readonly isBuilt?: boolean;
  /** Default: a free one. */
  readonly port?: number;
  /** With the modules of Node that workerd has. */
  readonly hasNode?: boolean;
}

/** Starts a Worker with variables and, where they are given, its bindings. */
export async function startWorker(
  variables: Readonly<Record<string, string>>,
  {
    kv,
    nonces,
    script = 'test/workers/worker.ts',
    isBuilt = false,
    port = 0,
    hasNode = false,
  }: WorkerOptions = {},
): Promise<RuntimeServer> {
  const onDisk = typeof nonces === 'object';
  const hasClass = nonces !== undefined;
  return startServer(await findRuntime('workerd'), script, {
    isBuilt,
    port,
    external: hasNode ? ['node:*', 'ioredis'] : [],
    services: [
      ...(kv === undefined
        ? []
        : [`(name = "kv", external = (address = "127.0.0.1:${kv.port}", http = ())),`]),
      ...(onDisk ? [`(name = "disk", disk = (path = "${nonces.folder}", writable = true)),`] : []),
    ].join('\n'),
    worker: [
      hasNode ? 'compatibilityFlags = ["nodejs_compat"],' : '',
      'bindings = [',
      ...Object.entries(variables).map(
        ([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)}),`,
      ),
      ...(kv === undefined ? [] : ['(name = "AMESH_ALLOW_LIST", kvNamespace = "kv"),']),
      ...(nonces === undefined ? [] : ['(name = "AMESH_NONCES", durableObjectNamespace = "AmeshNonces"),']),
      '],',
      hasClass
        ? 'durableObjectNamespaces = [(className = "AmeshNonces", uniqueKey = "amesh", enableSql = true)],'
        : '',
      `durableObjectStorage = (${onDisk ? 'localDisk = "disk"' : 'inMemory = void'}),`,
    ].join('\n'),
  });
}
