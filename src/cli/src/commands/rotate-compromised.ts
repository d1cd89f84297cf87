import type { Result } from '../command-line/command';
import { openToRead } from '../machine/machine';
import { printable } from '../words/printable';
import { table } from '../words/table';

/**
 * What to do if somebody else may have the key of this machine. It sends nothing: somebody who has stolen the key could send the
 * same.
 */
export async function compromised(): Promise<Result> {
  const { identity, trust } = await openToRead();
  const list = await trust.read();
  const { deviceId, was = [] } = identity;
  const command = `amesh revoke ${deviceId}`;
  const devices = [...list.devices()].filter(({ deviceId: id }) => id !== deviceId);
  const targets = devices.filter(({ roles }) => roles.includes('target'));
  const callers = devices.filter(({ roles }) => roles.includes('controller'));
  const shown = targets.map(({ deviceId: id, friendlyName, hosts }) => ({
    deviceId: id,
    friendlyName,
    hosts,
    command,
  }));
  return {
    json: {
      deviceId,
      was,
      targets: shown,
      callers: callers.map(({ deviceId: id, friendlyName }) => ({ deviceId: id, friendlyName, command })),
    },
    data: table(
      shown.map(({ deviceId: id, friendlyName, hosts }) => [
        `${printable(friendlyName)}  (${id})`,
        hosts.join(', ') || 'no host',
        command,
      ]),
    ),
    notes: [
      '! Nothing was changed or sent: a thief of the key could send the same.',
      `  1. On each target above, run:  ${command}`,
      ...(callers.length === 0
        ? []
        : [`  2. On each machine that calls this one (${callers.length}), run:  ${command}`]),
      `  ${callers.length === 0 ? 2 : 3}. Here, make a new identity:  amesh init --name NAME --force`,
      `  ${callers.length === 0 ? 3 : 4}. Pair again:  amesh listen  and  amesh invite`,
      ...(was.length === 0
        ? []
        : [`  A machine that does not know ${deviceId} may know an earlier ID: ${was.join(', ')}`]),
    ],
  };
}
