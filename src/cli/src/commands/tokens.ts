import type { DeviceEntry, Grant, IssuedToken, TakenToken } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { missingError, missingNotes, readDevices } from '../allow-list/devices';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { EXIT } from '../errors/exit-codes';
import { openMachine } from '../machine/machine';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { table } from '../words/table';
import { SUMMARIES } from './summaries';

const HEAD = ['ID', 'KIND', 'NAME', 'UNTIL', 'STATE'];

export const tokens = defineCommand({
  meta: { name: 'tokens', description: SUMMARIES.tokens },
  args: SHARED_ARGS,
  subCommands: {
    cancel: () => import('./tokens-cancel').then(({ tokensCancel }) => tokensCancel),
  },

  async run(): Promise<Result> {
    const { trust } = await openMachine();
    const list = await trust.read();
    const { tokens: all, grants } = list.head;
    const { devices, missing } = readDevices(list);
    const error = missingError(missing);
    const present = byGrant(devices);
    const issued = all.filter((token) => token.kind === 'issued');
    const taken = all.filter((token) => token.kind === 'taken');
    const rows = [
      ...issued.map((token) => toTokenRow(token, devices)),
      ...grants.map((grant) => toGrantRow(grant, present.get(grant.id)?.length ?? 0)),
      ...taken.map((token) => toTakenRow(token, devices)),
    ];
    return {
      json: {
        issued: issued.map(({ secret: _, ...token }) => ({ ...token, state: stateOf(token) })),
        grants: grants.map((grant) => ({ ...grant, present: present.get(grant.id) ?? [] })),
        taken,
        ...(error && { ok: false, error }),
      },
      data: rows.length === 0 ? [] : table([HEAD, ...rows]),
      notes: [
        ...(rows.length === 0
          ? [
              'There are no tokens.',
              `  For a machine that this one will call:   ${here('amesh provision --name NAME')}`,
              `  For machines that will call this one:    ${here('amesh grant --name NAME')}`,
            ]
          : []),
        ...missingNotes(missing),
      ],
      ...(error && { exitCode: EXIT.failure }),
    };
  },
});

/** The IDs of the devices that enrolled with each grant. */
function byGrant(devices: readonly DeviceEntry[]): ReadonlyMap<string, readonly string[]> {
  const present = new Map<string, string[]>();
  for (const { deviceId, lease } of devices) {
    if (lease === undefined) continue;
    const ids = present.get(lease.grant);
    if (ids === undefined) present.set(lease.grant, [deviceId]);
    else ids.push(deviceId);
  }
  return present;
}

/** A token without its secret, which is never displayed. */
type Shown = Omit<IssuedToken, 'secret'>;

function stateOf({ takenBy, cancelledAt, expiresAt }: Shown): 'used' | 'cancelled' | 'expired' | 'pending' {
  if (takenBy !== null) return 'used';
  if (cancelledAt !== null) return 'cancelled';
  return expiresAt * 1000 <= Date.now() ? 'expired' : 'pending';
}

function toTokenRow(token: Shown, devices: readonly DeviceEntry[]): string[] {
  const machine = devices.find(({ publicKey }) => publicKey === token.takenBy);
  const states = {
    used: machine === undefined ? 'used' : `used by ${printable(machine.friendlyName)} (${machine.deviceId})`,
    cancelled: 'cancelled',
    expired: 'expired; provisioned, not seen',
    pending: 'provisioned, not seen',
  };
  const { id, friendlyName, expiresAt } = token;
  return [id, 'provision', printable(friendlyName), momentText(expiresAt), states[stateOf(token)]];
}

function toGrantRow(grant: Grant, present: number): string[] {
  const { id, names, uses, used, expiresAt } = grant;
  const isOver = expiresAt * 1000 <= Date.now() || used >= uses;
  const state = `${used} of ${uses} used, ${present} in the list${isOver ? '; closed' : ''}`;
  return [id, 'grant', printable(names), momentText(expiresAt), state];
}

function toTakenRow({ id, issuer, takenAt, until }: TakenToken, devices: readonly DeviceEntry[]): string[] {
  const machine = devices.find(({ deviceId }) => deviceId === issuer);
  const from = machine === undefined ? issuer : `${printable(machine.friendlyName)} (${issuer})`;
  const kind = until === null ? 'provision' : 'grant';
  return [id, kind, '-', '-', `from ${from}, taken here ${momentText(takenAt)}`];
}
