import { loadBackends } from '../keys/late-backend';
import { loadTunnel, loadWebSocket } from '../pairing/relay/dial';
import { loadIoRedis } from '../storage/redis/load';

/**
 * Loads what is otherwise loaded on first use: ws, the proxy client, the code of the key backends, and ioredis and
 * @napi-rs/keyring, if they are installed. It also reads the source of the helper for a Secure Enclave. Call it before a process
 * gives up the right to read these files.
 */
export async function loadLate(): Promise<void> {
  await Promise.all([
    loadWebSocket(),
    loadTunnel(),
    loadIoRedis().catch(noMatter),
    loadBackends(),
    import('../keys/keychain/load').then(({ loadKeyring }) => loadKeyring()).catch(noMatter),
    import('../keys/secure-enclave/compile').then(({ loadSource }) => loadSource()).catch(noMatter),
  ]);
}

/** The first use of a package reports that it is missing. */
function noMatter(): void {}
