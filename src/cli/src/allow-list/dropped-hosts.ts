import { type Device, isLoopback, portOf } from '@authmesh/sdk/admin/list';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { countCallers } from './devices';

/** Says for which hosts this machine no longer accepts requests, and the command that restores them. */
export function droppedHosts(before: readonly string[], after: readonly string[]): string[] {
  if (before.length === 0 && after.length === 0) return [];
  if (before.length > 0) {
    // Without hosts, loopback names still work, with the server's port.
    const gone = before.filter((host) => !after.includes(host) && !(after.length === 0 && isLoopback(host)));
    return gone.length === 0 ? [] : noLonger(gone.join(', '), [...new Set([...after, ...before])]);
  }
  if (after.some(isLoopback)) return []; // the user named them on purpose
  const ports = new Set(after.map(portOf).filter((port) => port !== null));
  const [port] = ports.size === 1 ? ports : ['PORT'];
  return noLonger('localhost and other loopback names', [...after, `localhost:${port}`]);
}

/** The effect of a change of the hosts, and the command that avoids it. */
export interface LostLocalhost {
  readonly message: string;
  readonly keep: string;
}

/**
 * Warns, before the first host is set, that callers can no longer reach this machine as localhost.
 *
 * @returns null if no caller is affected: there are hosts already, the new ones include localhost, or no device may call
 */
export async function losesLocalhost(
  trust: Device['trust'],
  before: readonly string[],
  after: readonly string[],
): Promise<LostLocalhost | null> {
  if (before.length > 0 || after.length === 0 || after.some(isLoopback)) return null;
  const list = await trust.read();
  const callers = countCallers(list);
  if (callers === 0 && list.isWhole) return null;
  const count = list.isWhole ? `${callers} ` : ''; // without all pages, the number is not known
  const who =
    count === '1 ' ? 'the machine that may call this one' : `the ${count}machines that may call this one`;
  return {
    message: `Until now, this machine accepts requests for localhost. With this list it accepts them only for ${after.join(', ')}, also for ${who}.`,
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
    `! No longer accepts requests for: ${names}`,
    `  To keep them: ${here(`amesh config hosts ${shellWord(all.join(','))}`)}`,
  ];
}
