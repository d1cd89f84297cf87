import type { DeviceEntry } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command';
import { here } from '../here';
import { openMachine } from '../machine';
import { printable } from '../printable';
import { table } from '../table';

const HEAD = ['NAME', 'ID', 'ROLES', 'HOSTS', 'ADDED'];

export const list = defineCommand({
  meta: { name: 'list', description: 'Shows the devices that this machine trusts' },
  args: SHARED_ARGS,

  async run(): Promise<Result> {
    const { trust } = await openMachine();
    const { devices, revision, updatedAt } = await trust.read();
    const json = { devices, revision, updatedAt };
    if (devices.length > 0) {
      return { json, data: table([HEAD, ...devices.map(toRow)]), notes: devices.flatMap(unconfirmedNote) };
    }
    return {
      json,
      notes: [
        'No device is trusted yet.',
        `  To let a machine call this one, run here   ${here('amesh listen')}`,
        '                        and then there       amesh invite CODE',
      ],
    };
  },
});

function unconfirmedNote({ friendlyName, unconfirmed }: DeviceEntry): string[] {
  if (unconfirmed === undefined) return [];
  return [
    `! "${friendlyName}" has not acknowledged the pairing. The first request that it answers confirms it; if it refuses, pair again.`,
  ];
}

function toRow({ friendlyName, deviceId, roles, hosts, addedAt, unconfirmed }: DeviceEntry): string[] {
  const shownRoles = roles.map((role) => (role === 'target' && unconfirmed ? 'target (unconfirmed)' : role));
  const added = new Date(addedAt * 1000).toISOString().slice(0, 10);
  return [printable(friendlyName), deviceId, shownRoles.join(', '), hosts.join(', ') || '-', added];
}
