import {
  IoRedisError,
  OtherUrlError,
  ProxyError,
  probeRedis,
  probeRelay,
  type RedisProblem,
} from '@authmesh/sdk/admin';
import { FileStore, type PagedList, readVariable, VariableError } from '@authmesh/sdk/admin/list';
import { isAmeshError } from '@authmesh/sdk/core';
import { countDevices } from '../allow-list/devices';
import { EXIT } from '../errors/exit-codes';
import { chooseRelay, type RelayChoice } from '../relay/relay-choice';
import { commandHere, here } from '../words/here';
import { shellWord } from '../words/shell';
import { clockOf, type SeenClock } from './clock';
import { type Finding, failed, ok, PATIENCE_MS, skipped, toFinding, warning } from './finding';

/** Shorter than a check, so that the check can report what did not respond. */
const RELAY_MS = PATIENCE_MS - 1000;

export async function checkStore(): Promise<Finding> {
  const { AMESH_STORE_URL } = process.env;
  if (AMESH_STORE_URL === undefined) return skipped('AMESH_STORE_URL is not set: the list is in the folder.');
  return askRedis(AMESH_STORE_URL, 'AMESH_STORE_URL');
}

export async function checkNonces(): Promise<Finding> {
  const { REDIS_URL } = process.env;
  if (REDIS_URL !== undefined) return askRedis(REDIS_URL, 'REDIS_URL');
  return skipped(
    'REDIS_URL is not set: nonces are kept in memory, which detects replays within one process only.',
  );
}

async function askRedis(url: string, variable: string): Promise<Finding> {
  const startedAt = performance.now();
  const fix = `Check that Redis is running, and that the address in ${variable} is right.`;
  try {
    readVariable({ [variable]: url }, variable, 'wrong');
    const problem = await probeRedis(url, variable);
    if (problem !== null) return failed(problem.why, commandOf(problem.advice));
  } catch (error) {
    if (error instanceof VariableError)
      return failed(error.detail, error.fix || `export ${variable}=redis://localhost:6379`);
    if (error instanceof IoRedisError)
      return warning(
        `Not checked: ${error.why} It must be installed next to this command.`,
        commandOf(error.advice),
      );
    return failed(`The Redis of ${variable} does not respond: ${(error as Error).message}`, fix);
  }
  return ok(`The Redis of ${variable} responds within ${Math.ceil(performance.now() - startedAt)} ms.`);
}

/** Only the command if there is one, since it is printed after `Fix:`. */
function commandOf({ fix, command }: RedisProblem['advice']): string {
  return command === undefined ? fix : commandHere(command);
}

export interface FoundRelay extends Finding {
  readonly clock?: SeenClock | null;
  /** The URL at which the relay was expected. */
  readonly relay?: URL;
  /** What happened, if the relay did not respond and no proxy is to blame. */
  readonly silence?: string;
}

/** How to pair without a relay. */
const WITHOUT_RELAY =
  'On one network: run amesh listen --serve on the machine that receives requests. Without any relay: amesh trust export';

/** A machine that is paired no longer needs a relay, so its finding is less severe. */
export function asNeeded(found: FoundRelay, list: PagedList | undefined): FoundRelay {
  if (found.silence === undefined || list === undefined || countDevices(list) === 0) return found;
  const { relay } = found;
  const text = `${found.silence} Only pairing needs it, and this machine is paired.`;
  return { ...skipped(text), ...(relay === undefined ? {} : { relay }) };
}

/** Only pairing needs a relay, so an unreachable default relay is only a warning. */
export async function checkRelay(dir: string): Promise<FoundRelay> {
  const signal = AbortSignal.timeout(RELAY_MS);
  let relay: RelayChoice;
  try {
    relay = await chooseRelay(undefined, new FileStore(dir));
  } catch (error) {
    if (error instanceof VariableError && error.fix !== '') return toFinding(error);
    return failed((error as Error).message, here('amesh config relay wss://relay.example.com/ws'));
  }
  const { url, from } = relay;
  const health = new URL('/health', url.replace(/^ws/, 'http'));
  const clock = clockOf(health, signal);
  try {
    await probeRelay(url, undefined, RELAY_MS); // shorter than the check, so that the probe reports what did not respond
  } catch (error) {
    const { message, fix } = toFinding(error);
    const seen = { relay: new URL(url), exitCode: EXIT.relayUnreachable };
    const isProxy = isAmeshError(error) && error.cause instanceof ProxyError;
    if (isProxy) return { ...(from === 'default' ? warning(message, fix) : failed(message, fix)), ...seen };
    if (error instanceof TypeError)
      return { ...skipped('Not checked: the variable for the proxy is wrong.'), relay: seen.relay };
    if (from === 'default') {
      const offer = warning(`${message} Only pairing by a code needs it.`, WITHOUT_RELAY);
      return { ...offer, relay: seen.relay, silence: message };
    }
    const cause = isAmeshError(error) ? error.cause : undefined;
    const better = cause instanceof OtherUrlError ? cause.url : 'wss://relay.example.com/ws';
    const command =
      from === 'config'
        ? here(`amesh config relay ${shellWord(better)}`)
        : `export ${from}=${shellWord(better)}`;
    return { ...failed(message, command), ...seen, silence: message };
  }
  return { ...ok(`${url} accepts connections (${from}).`), clock: await clock, relay: new URL(url) };
}
