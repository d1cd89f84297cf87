import { version } from '../package.json';
import { startRelay } from './start';

const HELP = `Runs a relay, over which two machines pair by a code.

Usage: amesh-relay

Variables:
  PORT                   The port on which it listens; default 3001, 0 for any that is free.
  HOST                   The address to listen on; default all.
  AMESH_TRUSTED_PROXIES  Whose X-Forwarded-For is believed: how many proxies, or their networks.
  AMESH_RELAY_LIMITS     Other limits than the usual ones, such as sessions=500,mailboxes=200.
  REDIS_URL              The Redis through which several instances act as one.

Flags:
  --help     Print this.
  --version  Print the version.`;

/**
 * The command `amesh-relay`. All settings are variables, so whatever stands behind it is a mistake: a flag that is
 * not known would else start a relay on another port than somebody has asked for.
 *
 * @param argv without the program's own name
 * @see {@link startRelay}
 */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const [first, ...others] = argv;
  if (first !== undefined && others.length === 0) {
    if (first === '--help' || first === '-h') return console.log(HELP);
    if (first === '--version') return console.log(version);
  }
  if (first !== undefined) {
    console.error(`amesh-relay: takes no arguments, only variables such as PORT. See: amesh-relay --help`);
    process.exitCode = 2;
    return;
  }
  await startRelay(env).catch((error: Error) => {
    console.error(`amesh-relay: ${error.message}`);
    process.exitCode = error instanceof TypeError ? 2 : 1;
  });
}
