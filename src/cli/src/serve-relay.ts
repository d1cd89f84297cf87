import { CommandError } from './errors';

/** A relay within this process. */
export interface ServedRelay {
  /** How this process itself reaches it. */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** @throws CommandError where the port is taken */
export async function serveRelay(port: number): Promise<ServedRelay> {
  const { createRelay } = await import('@authmesh/relay');
  const relay = createRelay();
  const address = await relay.listen(port).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(
      'port_unavailable',
      `No relay can listen on port ${port}: ${error.code}.`,
      'Give another: --port 3002',
    );
  });
  return {
    url: `ws://127.0.0.1:${address.port}/ws`,
    port: address.port,
    close: () => relay.close(),
  };
}
