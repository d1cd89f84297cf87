import { type AllowListDocument, type DeviceEntry, findDevice, revokeDevice } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { CommandError } from '../errors';
import { here } from '../here';
import { openMachine } from '../machine';
import { confirm } from '../prompt';

export const revoke = defineCommand({
  meta: { name: 'revoke', description: 'Takes a device out of the allow list' },
  args: {
    device: {
      type: 'positional',
      required: true,
      valueHint: 'id|name',
      description: 'Which one: see amesh list',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { identity, trust, store } = await openMachine();
    const device = find(await trust.read(), args.device);
    const called = `"${device.friendlyName}" (${device.deviceId})`;
    await confirm(`Revoke ${called}, ${device.roles.join(' and ')}?`, args.yes);

    let wasThere = false;
    await trust.update((document) => {
      const changed = revokeDevice(document, device.deviceId, Math.floor(Date.now() / 1000));
      wasThere = changed !== document;
      return changed;
    });
    if (!wasThere) throw gone(`${called} was revoked by somebody else just now.`);
    return {
      json: { revoked: device },
      notes: [
        `✓ Revoked ${called}. Servers on this machine that use ${store.dir} refuse it within a second.`,
        ...elsewhere(device, identity.deviceId),
      ],
    };
  },
});

function find(document: AllowListDocument, idOrName: string): DeviceEntry {
  const tombstone = document.tombstones.find(({ deviceId }) => deviceId === idOrName);
  if (tombstone !== undefined) {
    const when = new Date(tombstone.revokedAt * 1000).toISOString();
    throw gone(`${idOrName} is not in the allow list: it was revoked at ${when}.`);
  }
  return findDevice(document, idOrName);
}

function gone(message: string): CommandError {
  return new CommandError('already_revoked', message, `See who is: ${here('amesh list')}`);
}

/** Every machine has a list of its own, and this one cannot reach into the others. */
function elsewhere({ roles, deviceId }: DeviceEntry, ownId: string): string[] {
  return [
    ...(roles.includes('controller')
      ? [`  On other machines that it may call:  amesh revoke ${deviceId}`]
      : []),
    ...(roles.includes('target') ? [`  On it, if this one may call it still:  amesh revoke ${ownId}`] : []),
  ];
}
