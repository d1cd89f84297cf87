import { endDelegation } from '@authmesh/sdk/admin/list';
import type { Result } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { CommandError, UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { here } from '../words/here';
import { confirmationsOf, refusalText } from './confirmations';
import { countRole } from './devices';

const ID = /^[A-Za-z0-9_-]{22}$/;

/** Revokes one delegation here, by its ID. */
export async function revokeByDelegate(id: string, yes: boolean | undefined): Promise<Result> {
  if (!ID.test(id))
    throw new UsageError('--delegate takes the ID of the delegation, which has 22 characters.', {
      hint: 'amesh delegate printed it, and it is req.authMesh.delegate.id here. A target does not keep the names of delegates. To refuse all delegations of a device: amesh keys cut DEVICE',
    });
  const { trust, store } = await openMachine();
  await confirm(`Revoke the delegation ${id}?`, yes);
  const now = Math.floor(Date.now() / 1000);
  const { head, result: isNew } = await trust.update(async (draft) => endDelegation(draft, id, now));
  if (!isNew)
    throw new CommandError(
      'already_revoked',
      `The delegation ${id} is revoked already.`,
      `To see what is revoked: ${here('amesh status')}`,
    );
  const confirmations = await confirmationsOf(trust, head.revision);
  const list = await afterwards(trust.read());
  return {
    json: { delegation: id, ...(confirmations === undefined ? {} : { confirmations }) },
    notes: [
      `✓ Revoked the delegation ${id}. ${refusalText(confirmations, store.dir, 'it')}`,
      ...(countRole(list, 'controller') > 0 || !list.isWhole
        ? []
        : ['! No device may call this machine. Is it the target that the delegation names?']),
      '  Every target has its own list: if the delegation names others, run the same there.',
    ],
  };
}
