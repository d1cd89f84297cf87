import { RelaySocket } from './socket';
import { toRelayUrl } from './url';

/**
 * Connects to a relay and disconnects, without a request.
 *
 * @param ms the time limit for connecting; default 10,000
 * @throws AmeshError `relay_unreachable`, `relay_busy`; the signal's reason; TypeError for a URL that is not a relay's
 */
export async function probeRelay(relay: string, signal?: AbortSignal, ms?: number): Promise<void> {
  const socket = await RelaySocket.connect(toRelayUrl(relay), signal, ms);
  await socket.close();
}
