import { lookUp, type PagedList, renameDevice, renameIdentity } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { readDevices } from '../allow-list/devices';
import { namesakesText } from '../allow-list/namesakes';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { SUMMARIES } from './summaries';

export const rename = defineCommand({
  meta: { name: 'rename', description: SUMMARIES.rename },
  args: {
    device: {
      type: 'positional',
      required: true,
      valueHint: 'id|name',
      description: 'The device, see amesh list; or this machine',
    },
    name: {
      type: 'positional',
      required: true,
      valueHint: 'new-name',
      description: 'The new name',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { identity, trust, store } = await openMachine();
    const isOwnName = args.device === identity.friendlyName;
    if (args.device === identity.deviceId || isOwnName) {
      if (isOwnName && hasName(await trust.read(), args.device)) {
        throw new UsageError(
          `This machine and a device in its list are both called ${JSON.stringify(args.device)}.`,
          {
            hint: `Use the ID. This machine is ${identity.deviceId}; the other: ${here('amesh list')}`,
          },
        );
      }
      const { friendlyName } = await renameIdentity(store, args.name);
      return {
        json: { deviceId: identity.deviceId, friendlyName, before: identity.friendlyName, isSelf: true },
        notes: [
          `✓ This machine is now called "${friendlyName}".`,
          '  Machines that already know it keep the old name. To rename it there, run on each of them:',
          `    amesh rename ${identity.deviceId} ${wordOf(friendlyName)}`,
        ],
      };
    }
    const { deviceId, friendlyName: before } = await lookUp(trust, args.device);
    const { result: friendlyName } = await trust.update((draft) => renameDevice(draft, deviceId, args.name));
    const same = friendlyName.toLowerCase();
    const namesakes = readDevices(await afterwards(trust.read())).devices.filter(
      (other) => other.deviceId !== deviceId && other.friendlyName.toLowerCase() === same,
    );
    return {
      json: { deviceId, friendlyName, before, isSelf: false },
      notes: [
        friendlyName === before
          ? `✓ It is already called "${friendlyName}". No changes were made.`
          : `✓ "${before}" is now called "${friendlyName}" (${deviceId}). Its permissions do not change: they depend on its key.`,
        ...(namesakes.length === 0 ? [] : [`! ${namesakesText(namesakes)} Commands need the ID of each.`]),
      ],
    };
  },
});

/** Puts a name that looks like a flag after `--`. */
function wordOf(name: string): string {
  return `${name.startsWith('-') ? '-- ' : ''}${shellWord(name)}`;
}

function hasName(list: PagedList, name: string): boolean {
  return readDevices(list).devices.some(({ friendlyName }) => friendlyName === name);
}
