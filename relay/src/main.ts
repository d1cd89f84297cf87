import { version } from '../package.json';
import { startRelay } from './start';

const HELP = `Runs a relay, through which two machines pair by a code.

Usage: amesh-relay

Variables:
  PORT                   The port to listen on; default 3001, 0 for any free one.
  HOST                   The address to listen on; default all.
  AMESH_TRUSTED_PROXIES  The proxies whose X-Forwarded-For is believed: their number or networks.
  AMESH_RELAY_LIMITS     Limits that differ from the defaults, such as sessions=500,mailboxes=200.
  REDIS_URL              The Redis through which several instances act as one.

Flags:
  --help     Print this help.
  --version  Print the version.`;

/**
 * The command `amesh-relay`. All settings are environment variables, so it refuses any other argument: a relay that ignored
 * `--port 3002` would listen on the wrong port.
 *
 * @param argv the arguments, without the name of the program
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
