import {
  type DeviceEntry,
  type IssuedToken,
  joinList,
  type OpenedList,
  pendingTokens,
} from '@authmesh/sdk/admin';
import { defineCommand } from 'citty';
import { devicesOf } from '../allow-list/devices';
import { FILTER_ARGS, type SeenDevice, toFilter } from '../allow-list/filters';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { openMachine } from '../machine/machine';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { table } from '../words/table';

const HEAD = ['NAME', 'ID', 'ROLES', 'HOSTS', 'ADDED', 'SEEN'];

export const list = defineCommand({
  meta: { name: 'list', description: 'Shows the devices that this machine trusts' },
  args: {
    ...FILTER_ARGS,
    export: {
      type: 'boolean',
      description: 'Print the sealed list as one text, for a variable or store that an instance reads',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { export: isExport, role, name, unused, expires } = args;
    const isChosen = toFilter({ role, name, unused, expires }, Math.floor(Date.now() / 1000));
    if (isExport && isChosen !== null) {
      throw new UsageError('--export prints the whole list, so it cannot be combined with a filter.', {
        hint: 'Use --export alone.',
      });
    }
    const { trust } = await openMachine();
    if (isExport) return exported(await trust.open());
    const whole = await trust.read();
    const { revision, updatedAt } = whole.head;
    const seen = await trust.lastSeen.read(whole);
    const all = devicesOf(whole).map((device) => ({
      ...device,
      lastSeenAt: seen.get(device.deviceId) ?? null,
    }));
    const devices = isChosen === null ? all : all.filter(isChosen);
    const pending = isChosen === null ? pendingTokens(whole.head) : [];
    const json = { devices, provisioned: pending.map(withoutSecret), revision, updatedAt };
    const rows = [...devices.map(toRow), ...pending.map(toPendingRow)];
    if (rows.length > 0)
      return { json, data: table([HEAD, ...rows]), notes: devices.flatMap(unconfirmedNote) };
    if (isChosen !== null) return { json, notes: [`None of the ${all.length} devices in the list matches.`] };
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

function exported({ head, pages }: OpenedList): Result {
  const text = new TextDecoder().decode(joinList(head, [...pages.values()]));
  return { json: { list: text }, text };
}

function unconfirmedNote({ friendlyName, unconfirmed }: DeviceEntry): string[] {
  if (unconfirmed === undefined) return [];
  return [
    `! "${friendlyName}" has not confirmed the pairing. Its first response to a request confirms it; if it refuses the request, pair again.`,
  ];
}

function toRow(device: SeenDevice): string[] {
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
