import { refuseSuccessor } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { confirmationsOf } from '../allow-list/confirmations';
import { findRotation } from '../allow-list/rotations';
import { DEVICE_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { printable } from '../words/printable';

export const rotateRefuse = defineCommand({
  meta: { name: 'refuse', description: 'Refuses the next key of a device; its key stays as it is' },
  args: { device: DEVICE_ARG, ...SHARED_ARGS },

  async run({ args }): Promise<Result> {
    const { trust } = await openMachine();
    const { former, next } = await findRotation(trust, args.device);
    const name = `"${printable(former.friendlyName)}"`;
    await confirm(`Refuse ${next.deviceId} as the next key of ${name} (${former.deviceId})?`, args.yes);
    const now = Math.floor(Date.now() / 1000);
    const { head, result: device } = await trust.update((draft) =>
      refuseSuccessor(draft, next.deviceId, now),
    );
    const confirmations = await confirmationsOf(trust, head.revision);
    return {
      json: {
        deviceId: device.deviceId,
        friendlyName: device.friendlyName,
        refused: next.deviceId,
        ...(confirmations === undefined ? {} : { confirmations }),
      },
      notes: [
        `✓ ${next.deviceId} is refused. ${name} stays ${device.deviceId}.`,
        `  If its owner did not ask for another key, somebody else could use the key. Then revoke it, and pair the machine again:  amesh revoke ${device.deviceId}`,
      ],
    };
  },
});
