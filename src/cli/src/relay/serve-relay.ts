import { CommandError } from '../errors/errors';
import { loadRelay } from '../machine/load';
import { loopbackAddress } from './addresses';

/** A relay in this process. */
export interface ServedRelay {
  /** The URL for this process. */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** @throws CommandError if the port is in use */
export async function serveRelay(port: number): Promise<ServedRelay> {
  const { createRelay } = await loadRelay();
  const relay = createRelay();
  const address = await relay.listen(port).catch((error: NodeJS.ErrnoException) => {
    throw portUnavailable(error);
  });
  return {
    url: `ws://${loopbackAddress()}:${address.port}/ws`,
    port: address.port,
    close: () => relay.close(),
  };
}

/** @param error Node's error from listening */
export function portUnavailable({
  code,
  address,
  port,
}: NodeJS.ErrnoException & { address?: string; port?: number }) {
  const where = address === undefined || ['::', '0.0.0.0'].includes(address) ? '' : ` of ${address}`;
  return new CommandError(
    'port_unavailable',
    `The relay cannot listen on port ${port}${where}: ${code}.`,
    'Use another port: --port 3002',
  );
}
