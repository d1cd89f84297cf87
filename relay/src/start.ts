import { type AddressInfo, isIP } from 'node:net';
import { readVariable, VariableError } from './environment';
import { parseLimits } from './limits/limits';
import { readTrustedProxies } from './net/client-address';
import { createRelay, type Relay } from './relay';

/** A relay that listens, with its address and port. */
export interface StartedRelay extends AddressInfo {
  readonly relay: Relay;
}

/**
 * Starts a relay from the environment: PORT (default 3001), HOST (default: all addresses), AMESH_TRUSTED_PROXIES,
 * AMESH_RELAY_LIMITS and REDIS_URL. It writes each event as a line of JSON to stdout, and its address to stderr. SIGTERM
 * and SIGINT drain it; a second signal ends it immediately.
 *
 * @throws TypeError that names the wrong variable; Error with the code of the system, such as `EADDRINUSE`, if it cannot listen;
 *   Error if REDIS_URL needs ioredis, which is not installed
 */
export async function startRelay(env: NodeJS.ProcessEnv): Promise<StartedRelay> {
  const host = readHost(readVariable(env, 'HOST'));
  const relay = createRelay({
    trustedProxies: readTrustedProxies(readVariable(env, 'AMESH_TRUSTED_PROXIES')),
    limits: parseLimits(readVariable(env, 'AMESH_RELAY_LIMITS')),
    redis: readVariable(env, 'REDIS_URL'),
    log: (entry) => console.log(JSON.stringify(entry)),
  });
  const listening = await relay.listen(readPort(readVariable(env, 'PORT')), host);
  const { address, port } = listening;
  console.error(
    `amesh-relay: listening on ${address.includes(':') ? `[${address}]` : address}:${port}, path /ws`,
  );
  let signals = 0;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void (signals++ === 0 ? relay.drain() : relay.close()));
  }
  return { ...listening, relay };
}

/** An address or a name. Anything else is refused here, since DNS would only report an unknown name. */
function readHost(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  const host = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  const isName = host === text && /^[\w-]{1,63}(?:\.[\w-]{1,63})*\.?$/.test(host);
  if (isIP(host) !== 0 || isName) return host;
  throw new VariableError(
    'HOST',
    'must be an address of this machine, such as 127.0.0.1 or ::1, without scheme, port or path.',
  );
}

function readPort(text: string | undefined): number {
  if (text === undefined || text === '') return 3001;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) throw new VariableError('PORT', `must be a number from 0 to 65535, not "${text}".`);
  return port;
}
