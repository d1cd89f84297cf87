import { CommandError } from '../errors/errors';
import { loadRelay } from '../machine/load';
import { loopbackAddress } from './addresses';

/** A relay within this process. */
export interface ServedRelay {
  /** How this process itself reaches it. */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** @throws CommandError where the port is taken */
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

/** @param error what Node says where it cannot listen */
export function portUnavailable({
  code,
  address,
  port,
}: NodeJS.ErrnoException & { address?: string; port?: number }) {
  const where = address === undefined || ['::', '0.0.0.0'].includes(address) ? '' : ` of ${address}`;
  return new CommandError(
    'port_unavailable',
    `No relay can listen on port ${port}${where}: ${code}.`,
    'Give another: --port 3002',
  );
}
