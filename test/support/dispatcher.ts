import type { LookupFunction } from 'node:net';

interface ConnectOptions {
  /** Where a name leads to. */
  readonly lookup?: LookupFunction;
  /** The certificate to trust. */
  readonly ca?: string;
}

interface Dispatcher {
  dispatch(options: { path: string; method: string }, handler: object): boolean;
  close(): Promise<void>;
}

/**
 * A dispatcher of the undici in Node itself. One of the npm package would have to be of the same major version,
 * which differs among the Node versions that the tests run on.
 */
export async function createDispatcher(connect: ConnectOptions = {}): Promise<Dispatcher> {
  await fetch('data:,'); // until its first use Node's fetch has none
  const key = Symbol.for('undici.globalDispatcher.1');
  const global = (globalThis as Record<symbol, unknown>)[key] as object;
  const Agent = global.constructor as new (options: { connect: ConnectOptions }) => Dispatcher;
  return new Agent({ connect });
}

/** A dispatcher for which every name is this machine; no question leaves it. */
export function createLoopbackDispatcher(connect: ConnectOptions = {}): Promise<Dispatcher> {
  return createDispatcher({
    ...connect,
    lookup: (_hostname, options, callback) =>
      options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4),
  });
}

/** A dispatcher that writes down which targets went through it, and passes them on. */
export async function createRecordingDispatcher(): Promise<Dispatcher & { readonly targets: string[] }> {
  const inner = await createDispatcher();
  const targets: string[] = [];
  return {
    targets,
    dispatch(options, handler) {
      targets.push(`${options.method} ${options.path}`);
      return inner.dispatch(options, handler);
    },
    close: () => inner.close(),
  };
}

/** `fetch` by another dispatcher than the default one. */
export function fetchWith(dispatcher: Dispatcher): typeof fetch {
  return (input, init) => fetch(input, { ...init, dispatcher } as RequestInit);
}
