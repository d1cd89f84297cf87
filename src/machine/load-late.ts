import { loadTunnel, loadWebSocket } from '../pairing/relay/dial';
import { loadIoRedis } from '../storage/redis/load';

/**
 * Loads the packages that are otherwise loaded on first use: ws, the proxy client, and ioredis if it is installed. Call it
 * before a process gives up the right to read them.
 */
export async function loadLate(): Promise<void> {
  await Promise.all([loadWebSocket(), loadTunnel(), loadIoRedis().catch(() => {})]); // its first use reports that it is missing
}
