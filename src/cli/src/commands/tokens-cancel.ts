import { cancelToken, closeGrant, findIssued } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { missingError, missingNotes, readDevices } from '../allow-list/devices';
import { findToken } from '../allow-list/find-token';
import { nameIn } from '../allow-list/namesakes';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { CommandError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { here } from '../words/here';

export const tokensCancel = defineCommand({
  meta: { name: 'cancel', description: 'Cancels an unused token, or closes a grant' },
  args: {
    token: {
      type: 'positional',
      required: true,
      valueHint: 'id|name',
      description: 'The token or grant: see amesh tokens',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { trust } = await openMachine();
    const token = findToken(await trust.readHead(), args.token);
    const { id } = token;
    const now = Math.floor(Date.now() / 1000);
    const { head } = await trust.update((draft) =>
      'names' in token ? closeGrant(draft, id, now) : cancelToken(draft, id, now),
    );
    if (!('names' in token)) {
      const { takenBy, friendlyName } = findIssued(head, id) ?? token;
      if (takenBy !== null) {
        const list = await trust.read();
        const { devices, missing } = readDevices(list);
        const machine = devices.find(({ publicKey }) => publicKey === takenBy);
        throw new CommandError(
          'token_used',
          'The token was already used.',
          machine === undefined
            ? (missingError(missing)?.message ?? 'Its machine is no longer in the list.')
            : `To revoke its machine: ${here(`amesh revoke ${nameIn(list, machine)}`)}`,
        );
      }
      return {
        json: { cancelled: id, present: [] },
        notes: [
          `✓ Cancelled. No machine can become "${friendlyName}" with this token.`,
          '! A machine that has the token may still take it, and would then trust this one. Remove the token there, too.',
        ],
      };
    }
    const { devices, missing } = readDevices(await afterwards(trust.read()));
    const present = devices.flatMap(({ deviceId, lease }) => (lease?.grant === id ? [deviceId] : []));
    const left = present.length;
    return {
      json: { cancelled: id, present },
      notes: [
        '✓ Closed. No more callers can enrol with this grant.',
        ...(left === 0
          ? []
          : [
              `! ${left === 1 ? 'One caller' : `${left} callers`} enrolled with it, and may stay until ${left === 1 ? 'its lease ends' : 'their leases end'}.`,
              `  To revoke ${left === 1 ? 'it' : 'them'}, too:  ${here(`amesh revoke --grant ${id}`)}`,
            ]),
        ...missingNotes(missing),
      ],
    };
  },
});
