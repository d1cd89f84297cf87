import { cutKeys, lookUp, STATEMENT_LIMITS } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { confirmationsOf, refusalText } from '../allow-list/confirmations';
import { DEVICE_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { confirm } from '../terminal/prompt';
import { printable } from '../words/printable';

export const keysCut = defineCommand({
  meta: {
    name: 'cut',
    description:
      'Refuses the working keys and delegations that a device has signed so far; its own key stays',
  },
  args: { device: DEVICE_ARG, ...SHARED_ARGS },

  async run({ args }): Promise<Result> {
    const { trust, store } = await openMachine();
    const found = await lookUp(trust, args.device);
    const called = `"${printable(found.friendlyName)}" (${found.deviceId})`;
    await confirm(`Refuse the working keys and delegations that ${called} has signed so far?`, args.yes);
    const now = Math.floor(Date.now() / 1000);
    const { head, result: device } = await trust.update((draft) => cutKeys(draft, found.deviceId, now));
    const { deviceId, friendlyName, keysSince = now } = device;
    const confirmations = await confirmationsOf(trust, head.revision);
    const anewAt = new Date((keysSince + STATEMENT_LIMITS.backdatedSeconds) * 1000);
    return {
      json: {
        deviceId,
        friendlyName,
        keysSince,
        ...(confirmations === undefined ? {} : { confirmations }),
      },
      notes: [
        `✓ The working keys and delegations that ${called} has signed so far do not count any more. ${refusalText(confirmations, store.dir, 'them')}`,
        '  What its own key signs still counts. If somebody else could use that key: revoke the device, and pair it again with a new key.',
        '  Its programs whose key is in hardware or an agent make a new working key when their next request is refused.',
        `  New delegations count from ${anewAt.toISOString().slice(11, 19)} UTC on: they begin 5 minutes early, for clocks that are behind.`,
      ],
    };
  },
});
