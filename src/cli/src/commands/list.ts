import { type DeviceEntry, type IssuedToken, pendingTokens } from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { openMachine } from '../machine/machine';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { table } from '../words/table';

const HEAD = ['NAME', 'ID', 'ROLES', 'HOSTS', 'ADDED', 'SEEN'];

export const list = defineCommand({
  meta: { name: 'list', description: 'Shows the devices that this machine trusts' },
  args: SHARED_ARGS,

  async run(): Promise<Result> {
    const { trust } = await openMachine();
    const document = await trust.read();
    const { devices, revision, updatedAt } = document;
    const pending = pendingTokens(document);
    const seen = await trust.lastSeen.read();
    const withSeen = devices.map((device) => ({
      ...device,
      lastSeenAt: seen.get(device.deviceId) ?? null,
    }));
    const json = { devices: withSeen, provisioned: pending.map(withoutSecret), revision, updatedAt };
    const rows = [...withSeen.map(toRow), ...pending.map(toPendingRow)];
    if (rows.length > 0) {
      return { json, data: table([HEAD, ...rows]), notes: devices.flatMap(unconfirmedNote) };
    }
    return {
      json,
      notes: [
        'This machine trusts no device yet.',
        `  To let a machine call this one, run here   ${here('amesh listen')}`,
        '                        and then there       amesh invite CODE',
      ],
    };
  },
});

function unconfirmedNote({ friendlyName, unconfirmed }: DeviceEntry): string[] {
  if (unconfirmed === undefined) return [];
  return [
    `! "${friendlyName}" has not confirmed the pairing. Its first response to a request confirms it; if it refuses the request, pair again.`,
  ];
}

function toRow(device: DeviceEntry & { lastSeenAt: number | null }): string[] {
  const { friendlyName, deviceId, roles, hosts, addedAt, lastSeenAt } = device;
  const shownRoles = roles.map((role) => role + (footnote(device, role) ?? ''));
  return [
    printable(friendlyName),
    deviceId,
    shownRoles.join(', '),
    hosts.join(', ') || '-',
    dayText(addedAt),
    lastSeenAt === null ? '-' : momentText(lastSeenAt),
  ];
}

function footnote({ unconfirmed, lease }: DeviceEntry, role: string): string | undefined {
  if (role === 'target') return unconfirmed && ' (unconfirmed)';
  if (lease === undefined) return undefined;
  const isOver = lease.expiresAt * 1000 < Date.now();
  return ` (${isOver ? 'lease expired' : 'until'} ${momentText(lease.expiresAt)})`;
}

function toPendingRow({ friendlyName, id, hosts, issuedAt, expiresAt }: IssuedToken): string[] {
  const isOver = expiresAt * 1000 < Date.now();
  return [
    printable(friendlyName),
    `token ${id}`,
    `target (provisioned, not seen${isOver ? ', expired' : ''})`,
    hosts.join(', ') || '-',
    dayText(issuedAt),
    '-',
  ];
}

function withoutSecret({ friendlyName, id, hosts, issuedAt, expiresAt }: IssuedToken) {
  return { friendlyName, id, hosts, issuedAt, expiresAt };
}

function dayText(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toISOString().slice(0, 10);
}
