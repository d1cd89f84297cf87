import { isLoopback, portOf } from '@authmesh/sdk/admin';
import { here } from './here';
import { shellWord } from './shell';

/** The names that have just stopped counting, and the command that keeps them. */
export function droppedHosts(before: readonly string[], after: readonly string[]): string[] {
  if (before.length === 0 && after.length === 0) return [];
  if (before.length > 0) {
    // Without a list loopback names count anyway, with the port of the server.
    const gone = before.filter((host) => !after.includes(host) && !(after.length === 0 && isLoopback(host)));
    return gone.length === 0 ? [] : noLonger(gone.join(', '), [...new Set([...after, ...before])]);
  }
  if (after.some(isLoopback)) return []; // whoever names one has thought of them
  const ports = new Set(after.map(portOf).filter((port) => port !== null));
  const [port] = ports.size === 1 ? ports : ['PORT'];
  return noLonger('localhost and other loopback names', [...after, `localhost:${port}`]);
}

function noLonger(names: string, all: readonly string[]): string[] {
  return [
    `! No longer answers to: ${names}`,
    `  To keep them: ${here(`amesh config hosts ${shellWord(all.join(','))}`)}`,
  ];
}
