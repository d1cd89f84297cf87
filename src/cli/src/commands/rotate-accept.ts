import { acceptSuccessor, type DeviceEntry } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { confirmationsOf, knownText } from '../allow-list/confirmations';
import { findRotation } from '../allow-list/rotations';
import { DEVICE_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { momentText } from '../words/duration';
import { printable } from '../words/printable';

export const rotateAccept = defineCommand({
  meta: { name: 'accept', description: 'Lets the next key of a device replace its key on this machine' },
  args: { device: DEVICE_ARG, ...SHARED_ARGS },

  async run({ args }): Promise<Result> {
    const { trust, store } = await openMachine();
    const { former, next } = await findRotation(trust, args.device);
    const name = `"${printable(former.friendlyName)}"`;
    await confirm(
      `Let ${next.deviceId} replace ${former.deviceId}, the key of ${name}? Its owner sees that ID there with: amesh whoami`,
      args.yes,
    );
    const now = Math.floor(Date.now() / 1000);
    // This checks the ID that was shown in the question: another key may wait by now.
    const { head, result: successor } = await trust.update(async (draft) => {
      const accepted = await acceptSuccessor(draft, next.deviceId, now);
      return { accepted, formerUntil: (await draft.device(former.deviceId))?.retiresAt ?? null };
    });
    const { accepted, formerUntil } = successor;
    const confirmations = await confirmationsOf(trust, head.revision);
    return {
      json: {
        deviceId: accepted.deviceId,
        friendlyName: accepted.friendlyName,
        formerIds: accepted.was ?? [],
        formerUntil,
        ...(confirmations === undefined ? {} : { confirmations }),
      },
      notes: [
        `✓ ${name} is ${accepted.deviceId} now, with the rights that it had. ${knownText(confirmations, store.dir)}`,
        ...untilNotes(former, formerUntil),
      ],
    };
  },
});

function untilNotes({ deviceId }: DeviceEntry, formerUntil: number | null): string[] {
  if (formerUntil === null) return [];
  return [
    `  The former key ${deviceId} counts until ${momentText(formerUntil)}, and can take this back until then.`,
    `  Commands take any of its IDs. If this was wrong:  amesh revoke ${deviceId}`,
  ];
}
