import { cancelToken, closeGrant, findIssued, grantedDevices } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { findToken } from '../allow-list/find-token';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { CommandError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { here } from '../words/here';
import { nameForCommand } from '../words/shell';

export const tokensCancel = defineCommand({
  meta: { name: 'cancel', description: 'Gives a token up that was not used, or closes a grant' },
  args: {
    token: {
      type: 'positional',
      required: true,
      valueHint: 'id|name',
      description: 'Which one: see amesh tokens',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { trust } = await openMachine();
    const token = findToken(await trust.read(), args.token);
    const { id } = token;
    const now = Math.floor(Date.now() / 1000);
    const after = await trust.update((document) =>
      'names' in token ? closeGrant(document, id, now) : cancelToken(document, id, now),
    );
    if (!('names' in token)) {
      const { takenBy, friendlyName } = findIssued(after, id) ?? token;
      if (takenBy !== null) {
        const machine = after.devices.find(({ publicKey }) => publicKey === takenBy);
        throw new CommandError(
          'token_used',
          'The token was used already.',
          machine === undefined
            ? 'Its machine is not in the list any more.'
            : `To end the trust in its machine: ${here(`amesh revoke ${nameForCommand(machine)}`)}`,
        );
      }
      return {
        json: { cancelled: id, present: [] },
        notes: [
          `✓ Cancelled. No machine becomes "${friendlyName}" by this token.`,
          '! A machine that has it may take it still, and trusts this one then. Take it away there, too.',
        ],
      };
    }
    const present = grantedDevices(after, id).map(({ deviceId }) => deviceId);
    const left = present.length;
    return {
      json: { cancelled: id, present },
      notes: [
        '✓ Closed. Nobody else enrols by this grant.',
        ...(left === 0
          ? []
          : [
              `! ${left === 1 ? 'One caller' : `${left} callers`} came by it, and may stay as long as their leases do.`,
              `  To end that, too:  ${here(`amesh revoke --grant ${id}`)}`,
            ]),
      ],
    };
  },
});
