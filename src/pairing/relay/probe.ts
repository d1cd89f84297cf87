import { RelaySocket } from './socket';
import { toRelayUrl } from './url';

/**
 * Connects to a relay and leaves it, without asking for anything.
 *
 * @param ms how long connecting may take; default 10,000
 * @throws AmeshError `relay_unreachable`, `relay_busy`; the signal's reason; TypeError for a URL that no relay has
 */
export async function probeRelay(relay: string, signal?: AbortSignal, ms?: number): Promise<void> {
  const socket = await RelaySocket.connect(toRelayUrl(relay), signal, ms);
  await socket.close();
}
