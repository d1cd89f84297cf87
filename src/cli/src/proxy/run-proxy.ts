import { type Certificate, Front, type Handler } from './front';
import { createHealth } from './health';
import type { Journal } from './journal';
import { type ListenPlace, listen } from './place';

/** How {@link runProxy} listens, and how it ends. */
export interface RunOptions {
  readonly place: ListenPlace;
  /** The mode of a socket. */
  readonly mode: number;
  readonly certificate?: Certificate | undefined;
  readonly health?: ListenPlace | undefined;
  /** How long to wait for open requests when the proxy ends. */
  readonly graceMs: number;
  readonly journal: Journal;
  /** Called with the address once it listens. */
  readonly onListening: (address: string) => void;
  /** Called when it begins to end. */
  readonly onEnding: () => void;
}

/**
 * Serves until SIGTERM or Ctrl+C. Then it accepts no more connections, and waits for the open ones; a second signal cuts them.
 */
export async function runProxy(handler: Handler, options: RunOptions): Promise<void> {
  const { place, mode, certificate, health, graceMs, journal, onListening, onEnding } = options;
  const front = new Front(handler, certificate);
  const healthServer = health && createHealth(() => front.isEnding);
  let signals = 0;
  let begin = () => {};
  let cut = () => {};
  const ending = new Promise<void>((done) => {
    begin = done;
  });
  const cutting = new Promise<void>((done) => {
    cut = done;
  });
  const onSignal = () => (++signals === 1 ? begin() : cut());
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    if (healthServer !== undefined) await listen(healthServer, health as ListenPlace);
    const address = await listen(front.server, place, mode);
    front.server.on('error', (error) => journal.write('error', { message: error.message }));
    journal.write('listening', { address });
    onListening(address);
    await ending;
    journal.write('ending');
    onEnding();
    await front.end(graceMs, cutting);
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    journal.flush();
    healthServer?.close();
    healthServer?.closeAllConnections();
  }
}
