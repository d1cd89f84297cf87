import {
  conflictsOf,
  type Device,
  type DeviceEntry,
  type Ending,
  endedDelegations,
  findBackend,
  type IssuedToken,
  joinList,
  type OpenedList,
  pendingTokens,
} from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { cutText, endedNotes } from '../allow-list/cuts';
import { missingError, missingNotes, readDevices, withSeen } from '../allow-list/devices';
import { dueEnds, endsNotes, isLeaseOver } from '../allow-list/ends';
import { FILTER_ARGS, type SeenDevice, toFilter } from '../allow-list/filters';
import { conflictNotes, pendingNotes, rotationText } from '../allow-list/rotations';
import { scopesText } from '../allow-list/scopes';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { EXIT } from '../errors/exit-codes';
import { openMachine, openToRead } from '../machine/machine';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { table } from '../words/table';
import { SUMMARIES } from './summaries';

const HEAD = ['NAME', 'ID', 'ROLES', 'HOSTS', 'SCOPES', 'ADDED', 'SEEN', 'ENDS'];

/** How many rows a page has. */
const ROWS = 50;

export const list = defineCommand({
  meta: { name: 'list', description: SUMMARIES.list },
  args: {
    ...FILTER_ARGS,
    page: {
      type: 'string',
      valueHint: 'n',
      description: 'Which 50 rows to show; default the first on a terminal, and all rows elsewhere',
    },
    'json-lines': {
      type: 'boolean',
      description: 'Print one JSON object a line: each device, and at the end one with ok',
    },
    export: {
      type: 'boolean',
      description: 'Print the sealed list as one text, for an instance that reads it from there',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { export: isExport, role, name, unused, expires, 'json-lines': isLines = false } = args;
    const now = Math.floor(Date.now() / 1000);
    const isChosen = toFilter({ role, name, unused, expires }, now);
    const page = toPage(args.page, args.json === true || isLines);
    if (args.json && isLines)
      throw new UsageError('--json and --json-lines cannot be combined.', { hint: 'Use one of them.' });
    if (isExport && (isChosen !== null || isLines || page !== null)) throw onlyAlone();
    if (isExport) return exported(await (await openToRead()).trust.open());
    const machine = await openMachine();
    const { trust } = machine;
    const whole = await trust.read();
    const { revision, updatedAt } = whole.head;
    const { devices: readable, missing } = readDevices(whole);
    const all = await withSeen(readable, whole, trust);
    const devices = isChosen === null ? all : all.filter(isChosen);
    const pending = isChosen === null ? pendingTokens(whole.head) : [];
    const error = missingError(missing);
    const shown = devices.map(({ unusedSince: _, ...device }) => device);
    const failed = error === undefined ? {} : { ok: false, error };
    const tokens = pending.map(withoutSecret);
    const conflicts = isChosen === null ? conflictsOf(whole) : [];
    const revokedDelegations = isChosen === null ? endedDelegations(whole.head, now) : [];
    if (isLines) {
      const counts = { count: shown.length, provisioned: tokens.length };
      return {
        json: { ...failed, ...counts, revokedDelegations, revision, updatedAt },
        before: [...shown.map((device) => ({ device })), ...tokens.map((token) => ({ provisioned: token }))],
        ...(error && { exitCode: EXIT.failure }),
      };
    }
    const key = await ownKey(machine);
    const json = {
      devices: shown,
      provisioned: tokens,
      revokedDelegations,
      conflicts,
      revision,
      updatedAt,
      key,
      ...failed,
    };
    const rows = [...devices.map(toRow), ...pending.map(toPendingRow)];
    const ends = dueEnds(devices, whole.head, now);
    const notes = notesOf(devices, all.length, rows.length, ends, isChosen !== null);
    return {
      json,
      data: rows.length === 0 ? [] : table([HEAD, ...pageOf(rows, page)]),
      notes: [
        ...(error === undefined || rows.length > 0 ? notes : []),
        ...conflictNotes(conflicts),
        ...pageNotes(rows.length, page),
        ...endedNotes(revokedDelegations),
        ...missingNotes(missing),
      ],
      ...(error && { exitCode: EXIT.failure }),
    };
  },
});

function onlyAlone(): UsageError {
  return new UsageError('--export prints the whole list as it is, so it cannot be combined with that.', {
    hint: 'Use --export alone.',
  });
}

function notesOf(
  devices: readonly SeenDevice[],
  count: number,
  rows: number,
  ends: readonly Ending[],
  isFiltered: boolean,
): string[] {
  if (rows > 0)
    return [...pendingNotes(devices), ...unconfirmedNotes(devices), ...endsNotes(ends), ...cutNotes(devices)];
  if (isFiltered) return [`No device in the list matches (${count} ${count === 1 ? 'device' : 'devices'}).`];
  return [
    'This machine trusts no device yet.',
    `  To let a machine call this one, run here   ${here('amesh listen')}`,
    '                        and then there       amesh invite CODE',
  ];
}

/** @returns null for all rows */
function toPage(text: string | undefined, isJson: boolean): number | null {
  if (text === undefined) return !isJson && process.stdout.isTTY === true ? 1 : null;
  if (isJson)
    throw new UsageError('--page is for people. JSON always has all devices.', { hint: 'Leave out --page.' });
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new UsageError('--page must be a whole number, at least 1.');
  return Number(text);
}

function pageOf<T>(rows: readonly T[], page: number | null): readonly T[] {
  return page === null ? rows : rows.slice((page - 1) * ROWS, page * ROWS);
}

function pageNotes(rows: number, page: number | null): string[] {
  if (page === null || (rows <= ROWS && page === 1)) return [];
  const pages = Math.max(1, Math.ceil(rows / ROWS));
  if (page > pages) return [`! There is no page ${page}: the list has ${pages}.`];
  const next = page < pages ? `   Next: ${here(`amesh list --page ${page + 1}`)} with the same filters` : '';
  return [`  Page ${page} of ${pages}, ${rows} rows.${next}`];
}

function exported({ head, pages }: OpenedList): Result {
  const text = new TextDecoder().decode(joinList(head, [...pages.values()]));
  return { json: { list: text }, text };
}

const MAX_CUT = 5;

function cutNotes(devices: readonly DeviceEntry[]): string[] {
  const found = devices.filter(({ keysSince }) => keysSince !== undefined);
  const more = found.length - MAX_CUT;
  return [
    ...found.slice(0, MAX_CUT).map((device) => `  "${device.friendlyName}": ${cutText(device)}`),
    ...(more > 0 ? [`  ${more} more have such a cut.`] : []),
  ];
}

const MAX_UNCONFIRMED = 5;

function unconfirmedNotes(devices: readonly DeviceEntry[]): string[] {
  const found = devices.filter(({ unconfirmed }) => unconfirmed);
  const more = found.length - MAX_UNCONFIRMED;
  return [
    ...found
      .slice(0, MAX_UNCONFIRMED)
      .map(
        ({ friendlyName }) =>
          `! "${friendlyName}" has not confirmed the pairing. Its first response to a request confirms it; if it refuses the request, pair again.`,
      ),
    ...(more > 0 ? [`! ${more} more have not confirmed the pairing.`] : []),
  ];
}

function toRow(device: SeenDevice): string[] {
  const { friendlyName, deviceId, roles, hosts, scopes, addedAt, lastSeenAt } = device;
  const shownRoles = roles.map((role) => role + (footnote(device, role) ?? ''));
  const rotation = rotationText(device);
  return [
    printable(friendlyName),
    deviceId,
    [...shownRoles, ...(rotation === null ? [] : [rotation])].join(', '),
    hosts.join(', ') || '-',
    scopesText(scopes),
    dayText(addedAt),
    lastSeenAt === null ? '-' : momentText(lastSeenAt),
    endsText(device),
  ];
}

/** The end of the trust in a device. Calls extend a lease, so only one that has ended counts: a later end would not let it call. */
function endsText(device: DeviceEntry): string {
  const { expiresAt, lease } = device;
  const ends = [expiresAt, isLeaseOver(device) ? lease?.expiresAt : undefined].filter(
    (end) => end !== undefined,
  );
  if (ends.length === 0) return '-';
  const first = Math.min(...ends);
  return `${first * 1000 < Date.now() ? 'ended ' : ''}${momentText(first)}`;
}

function footnote(device: DeviceEntry, role: string): string | undefined {
  const { unconfirmed, lease, proves, keys } = device;
  if (role === 'target') {
    const moved = keys && `moved to the key of ${keys.at(-1)?.deviceId}`;
    const notes = [unconfirmed && 'unconfirmed', proves === false && 'cannot prove its answers', moved];
    const shown = notes.filter(Boolean).join(', ');
    return shown === '' ? undefined : ` (${shown})`;
  }
  if (lease === undefined) return undefined;
  return ` (${isLeaseOver(device) ? 'lease expired' : 'until'} ${momentText(lease.expiresAt)})`;
}

function toPendingRow({ friendlyName, id, hosts, issuedAt, expiresAt }: IssuedToken): string[] {
  const isOver = expiresAt * 1000 < Date.now();
  return [
    printable(friendlyName),
    `token ${id}`,
    `target (provisioned, not seen${isOver ? ', expired' : ''})`,
    hosts.join(', ') || '-',
    '-',
    dayText(issuedAt),
    '-',
    '-',
  ];
}

function withoutSecret({ friendlyName, id, hosts, issuedAt, expiresAt }: IssuedToken) {
  return { friendlyName, id, hosts, issuedAt, expiresAt };
}

function dayText(unixSeconds: number): string {
  return new Date(unixSeconds * 1000).toISOString().slice(0, 10);
}

/** Where the private key of this machine is stored. The list does not show where other machines store their keys. */
async function ownKey({ identity, store }: Device) {
  const { backend, ref } = identity.key;
  return { backend, text: await findBackend(backend).describe({ dir: store.dir, env: process.env }, ref) };
}
