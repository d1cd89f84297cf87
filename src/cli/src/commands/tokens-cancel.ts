import { cancelToken, closeGrant, findGrant, findIssued, grantedDevices } from '@authmesh/sdk/admin';
import { AmeshError } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { CommandError } from '../errors';
import { here } from '../here';
import { openMachine } from '../machine';
import { nameForCommand } from '../shell';

export const tokensCancel = defineCommand({
  meta: { name: 'cancel', description: 'Gives a token up that was not used, or closes a grant' },
  args: {
    id: { type: 'positional', required: true, description: 'Which one: see amesh tokens' },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { trust } = await openMachine();
    const { id } = args;
    const before = await trust.read();
    const token = findIssued(before, id);
    const grant = findGrant(before, id);
    if (token === undefined && grant === undefined) throw new AmeshError('unknown_token');
    const now = Math.floor(Date.now() / 1000);
    const after = await trust.update((document) =>
      token === undefined ? closeGrant(document, id, now) : cancelToken(document, id, now),
    );
    if (token !== undefined) {
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
        json: { cancelled: id },
        notes: [
          `✓ Cancelled. No machine becomes "${friendlyName}" by this token.`,
          '! A machine that has it may take it still, and trusts this one then. Take it away there, too.',
        ],
      };
    }
    const left = grantedDevices(after, id).length;
    return {
      json: { cancelled: id, present: left },
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
