import { readTrustedProxies } from './client-address';
import { createRelay } from './relay';

/**
 * Starts a relay from the environment, for `amesh-relay`: PORT (default 3001), HOST (default: all addresses),
 * AMESH_TRUSTED_PROXIES and REDIS_URL. Writes one line of JSON an event on stdout. SIGTERM and SIGINT drain it.
 */
export async function main(env: NodeJS.ProcessEnv): Promise<void> {
  const relay = await start(env).catch((error: Error) => {
    console.error(`amesh-relay: ${error.message}`);
    process.exitCode = error instanceof TypeError ? 2 : 1;
  });
  if (relay === undefined) return;
  // A second signal is from somebody who does not want to wait.
  let signals = 0;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void (signals++ === 0 ? relay.drain() : relay.close()));
  }
}

async function start(env: NodeJS.ProcessEnv) {
  const relay = createRelay({
    trustedProxies: readTrustedProxies(env.AMESH_TRUSTED_PROXIES),
    redis: env.REDIS_URL === '' ? undefined : env.REDIS_URL,
    log: (entry) => console.log(JSON.stringify(entry)),
  });
  const { address, port } = await relay.listen(readPort(env.PORT), env.HOST === '' ? undefined : env.HOST);
  console.error(
    `amesh-relay: listening on ${address.includes(':') ? `[${address}]` : address}:${port}, path /ws`,
  );
  return relay;
}

function readPort(text: string | undefined): number {
  if (text === undefined || text === '') return 3001;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) throw new TypeError(`PORT is a number from 0 to 65535, not "${text}".`);
  return port;
}
