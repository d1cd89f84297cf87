import { loadKeyring } from '../keys/keychain/load';
import { loadSource } from '../keys/secure-enclave/compile';
import { loadTunnel, loadWebSocket } from '../pairing/relay/dial';
import { loadIoRedis } from '../storage/redis/load';

/**
 * Loads the packages that are otherwise loaded on first use: ws, the proxy client, and what is
 * installed of ioredis and @napi-rs/keyring; and reads the source of the helper for a Secure Enclave. Call it
 * before a process gives up the right to read them.
 */
export async function loadLate(): Promise<void> {
  await Promise.all([
    loadWebSocket(),
    loadTunnel(),
    loadIoRedis().catch(noMatter),
    loadKeyring().catch(noMatter),
    loadSource().catch(noMatter),
  ]);
}

/** The first use of a package reports that it is missing. */
function noMatter(): void {}
