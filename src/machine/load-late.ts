import { loadTunnel, loadWebSocket } from '../pairing/relay/dial';
import { loadIoRedis } from '../storage/redis/load';

/**
 * Loads the packages that are otherwise loaded when they are first needed: ws, what speaks to a proxy, and ioredis where it is installed. For a
 * process that is about to give up the right to read them.
 */
export async function loadLate(): Promise<void> {
  await Promise.all([loadWebSocket(), loadTunnel(), loadIoRedis().catch(() => {})]); // its first use says that it is not there
}
