import { findDevice, renameDevice, renameIdentity } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { here } from '../words/here';

export const rename = defineCommand({
  meta: { name: 'rename', description: 'Gives a device of the list, or this machine, another name' },
  args: {
    device: {
      type: 'positional',
      required: true,
      valueHint: 'id|name',
      description: 'Which one: see amesh list. Or this machine itself',
    },
    name: {
      type: 'positional',
      required: true,
      valueHint: 'new-name',
      description: 'What it is called from now on',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { identity, trust, store } = await openMachine();
    if (args.device === identity.deviceId || args.device === identity.friendlyName) {
      const inList = (await trust.read()).devices.some(({ friendlyName }) => friendlyName === args.device);
      if (inList) {
        throw new UsageError(
          `This machine and a device of its list are both called ${JSON.stringify(args.device)}.`,
          {
            hint: `Give the id. This machine is ${identity.deviceId}; the other: ${here('amesh list')}`,
          },
        );
      }
      const { friendlyName } = await renameIdentity(store, args.name);
      return {
        json: { deviceId: identity.deviceId, friendlyName, before: identity.friendlyName, isSelf: true },
        notes: [
          `✓ This machine is called "${friendlyName}" now.`,
          '  Machines that know it already keep the name under which they know it. On each, if you like:',
          `    amesh rename ${identity.deviceId} ${JSON.stringify(friendlyName)}`,
        ],
      };
    }
    const { deviceId, friendlyName: before } = findDevice(await trust.read(), args.device);
    const after = await trust.update((document) => renameDevice(document, deviceId, args.name));
    const { friendlyName } = findDevice(after, deviceId);
    return {
      json: { deviceId, friendlyName, before, isSelf: false },
      notes: [
        friendlyName === before
          ? `✓ It is called "${friendlyName}" already. No changes were made.`
          : `✓ "${before}" is called "${friendlyName}" now (${deviceId}). Nothing else changes: what it may do goes by its key.`,
      ],
    };
  },
});
