import { type AllowListDocument, isLoopback, portOf } from '@authmesh/sdk/admin';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

/** The names that have just stopped counting, and the command that keeps them. */
export function droppedHosts(before: readonly string[], after: readonly string[]): string[] {
  if (before.length === 0 && after.length === 0) return [];
  if (before.length > 0) {
    // Without a list loopback names count anyway, with the port of the server.
    const gone = before.filter((host) => !after.includes(host) && !(after.length === 0 && isLoopback(host)));
    return gone.length === 0 ? [] : noLonger(gone.join(', '), [...new Set([...after, ...before])]);
  }
  if (after.some(isLoopback)) return []; // the user has thought of them
  const ports = new Set(after.map(portOf).filter((port) => port !== null));
  const [port] = ports.size === 1 ? ports : ['PORT'];
  return noLonger('localhost and other loopback names', [...after, `localhost:${port}`]);
}

/**
 * Warns, before a first list of hosts is set, that callers can no longer reach this machine as localhost.
 *
 * @returns null where no caller is affected: there was a list, it names a loopback name, or no device may call this machine
 */
export function losesLocalhost(
  { hosts, devices }: Pick<AllowListDocument, 'hosts' | 'devices'>,
  after: readonly string[],
): { readonly message: string; readonly keep: string } | null {
  const callers = devices.filter(({ roles }) => roles.includes('controller')).length;
  if (hosts.length > 0 || after.length === 0 || after.some(isLoopback) || callers === 0) return null;
  const who =
    callers === 1 ? 'the machine that may call this one' : `the ${callers} machines that may call this one`;
  return {
    message: `Until now this machine answers to localhost. With a list it answers to ${after.join(', ')} only, also for ${who}.`,
    keep: keeping(after),
  };
}

function keeping(after: readonly string[]): string {
  const ports = new Set(after.map(portOf).filter((port) => port !== null));
  const [port] = ports.size === 1 ? ports : ['PORT'];
  return here(`amesh config hosts ${shellWord([...after, `localhost:${port}`].join(','))}`);
}

function noLonger(names: string, all: readonly string[]): string[] {
  return [
    `! No longer answers to: ${names}`,
    `  To keep them: ${here(`amesh config hosts ${shellWord(all.join(','))}`)}`,
  ];
}
