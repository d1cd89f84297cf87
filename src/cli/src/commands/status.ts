import {
  type Conflict,
  conflictsOf,
  type DeviceEntry,
  type EndedDelegation,
  endedDelegations,
  findBackend,
  type ListHead,
  pendingTokens,
} from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { cutText, endedText } from '../allow-list/cuts';
import { lastSeenOf, missingError, missingNotes, readDevices } from '../allow-list/devices';
import { dueEnds, endText, isLeaseOver } from '../allow-list/ends';
import { ownRotationRows, readFollowers } from '../allow-list/followers';
import { aboutRotation, conflictText, type Rotation, rotationsOf } from '../allow-list/rotations';
import { scopesText } from '../allow-list/scopes';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { EXIT } from '../errors/exit-codes';
import { type KeyFault, keyFaultOf } from '../machine/key-fault';
import { answersTo, hostsText, openMachine } from '../machine/machine';
import { proofsText } from '../machine/proofs';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';
import { table } from '../words/table';
import { SUMMARIES } from './summaries';

/** As many names as fit on one screen with the rest. */
const MAX_NAMES = 12;

/** Anything that ends within this time needs attention. */
const DUE_SECONDS = 14 * 86_400;

export const status = defineCommand({
  meta: {
    name: 'status',
    description: SUMMARIES.status,
  },
  args: SHARED_ARGS,

  async run(): Promise<Result> {
    const { identity, trust, store, signer } = await openMachine();
    const list = await trust.read();
    const { devices, missing } = readDevices(list);
    const keyFault = await keyFaultOf({ identity, signer });
    const error = missingError(missing) ?? keyFault;
    const seen = await trust.lastSeen.read(list);
    const [sealedBy, ownRotation] = [await trust.sealedBy(), await readFollowers(store, list)];
    const { hosts, from } = answersTo(list);
    const controllers = devices.filter(({ roles }) => roles.includes('controller'));
    const targets = devices.filter(({ roles }) => roles.includes('target'));
    const now = Math.floor(Date.now() / 1000);
    const due = dueOf(devices, list.head, now);
    const ended = endedDelegations(list.head, now);
    const rotating = { rotations: rotationsOf(devices, now), conflicts: conflictsOf(list) };
    const { deviceId, friendlyName, key } = identity;
    const keyText = await findBackend(key.backend).describe({ dir: store.dir, env: process.env }, key.ref);
    return {
      json: {
        deviceId,
        friendlyName,
        backend: key.backend,
        dir: store.dir,
        hosts,
        hostsFrom: from,
        list: list.head.list,
        sealedBy,
        ownRotation,
        controllers: controllers.map((device) => withSeen(device, seen)),
        targets: targets.map((device) => withSeen(device, seen)),
        revokedDelegations: ended,
        ...rotating,
        due,
        ...(error && { ok: false, error }),
      },
      data: table([
        ['I am', `${printable(friendlyName)}  (${deviceId})`],
        ['key', keyText],
        ...faultRows(keyFault),
        ['proofs', proofsText(identity)],
        ...(list.head.list === deviceId && sealedBy === 'us'
          ? []
          : [['list of', `${list.head.list}, ${SEALED[sealedBy]}`]]),
        ...ownRotationRows(ownRotation),
        ['hosts', hostsText(hosts) + (from === 'AMESH_HOSTS' ? '  (AMESH_HOSTS)' : '')],
        ...rowsOf('may call me', controllers, (device) => aboutCaller(device, lastSeenOf(device, seen))),
        ...rowsOf('I may call', targets, aboutTarget),
        ...endedRows(ended),
        ...rotationRows(rotating),
        ...dueRows(due),
      ]),
      notes: [
        ...(devices.length > MAX_NAMES ? [`  To see all:  ${here('amesh list')}`] : []),
        ...missingNotes(missing),
      ],
      ...(error && { exitCode: EXIT.failure }),
    };
  },
});

function faultRows(fault: KeyFault | undefined): string[][] {
  return fault === undefined ? [] : [['', `It does not sign: ${fault.message} ${fault.hint}`]];
}

function endedRows(ended: readonly EndedDelegation[]): string[][] {
  const shown = ended.slice(-MAX_NAMES);
  return shown.map((each, i) => [
    i === 0 ? 'revoked' : '',
    `${i === 0 ? 'delegation ' : ''}${endedText(each)}`,
  ]);
}

interface Rotating {
  readonly rotations: readonly Rotation[];
  readonly conflicts: readonly Conflict[];
}

function rotationRows({ rotations, conflicts }: Rotating): string[][] {
  return [
    ...rotations.slice(0, MAX_NAMES).map((each, i) => [i === 0 ? 'rotations' : '', aboutRotation(each)]),
    ...conflicts.slice(-MAX_NAMES).map((each, i) => [i === 0 ? 'conflicts' : '', conflictText(each)]),
  ];
}

function dueRows(due: readonly Due[]): string[][] {
  const nothing =
    'nothing: every pairing is confirmed, and no device, lease, token or grant has ended or ends soon';
  if (due.length === 0) return [['due', nothing]];
  return [
    ...due.slice(0, MAX_NAMES).map((each, i) => [i === 0 ? 'due' : '', dueText(each)]),
    ...(due.length > MAX_NAMES ? [['', `and ${due.length - MAX_NAMES} more`]] : []),
  ];
}

/** Who seals a list that has two owners, or that was moved here. */
const SEALED = {
  us: 'sealed by this machine',
  former: 'sealed by its owner; this machine has the key of the next one',
  next: 'sealed by its next owner: this machine cannot change it any more',
} as const;

/** Something that needs attention. */
interface Due {
  readonly kind: 'unconfirmed' | 'rotation' | 'device' | 'lease' | 'token' | 'grant';
  /** Its name or ID. */
  readonly name: string;
  /** Unix seconds; null if it has no end. */
  readonly at: number | null;
}

function dueOf(devices: readonly DeviceEntry[], head: ListHead, now: number): Due[] {
  const isNear = (at: number) => at < now + DUE_SECONDS;
  return [
    ...dueEnds(devices, head, now).map(({ kind, name, endsAt }) => ({ kind, name, at: endsAt })),
    ...rotationsOf(devices, now)
      .filter(({ state }) => state === 'waiting')
      .map(({ friendlyName }) => ({ kind: 'rotation' as const, name: friendlyName, at: null })),
    ...devices.flatMap(({ friendlyName, unconfirmed, lease }): Due[] => [
      ...(unconfirmed ? [{ kind: 'unconfirmed' as const, name: friendlyName, at: null }] : []),
      // A caller's requests renew its lease. Only an expired lease shows that the caller is gone.
      ...(lease !== undefined && lease.expiresAt < now
        ? [{ kind: 'lease' as const, name: friendlyName, at: lease.expiresAt }]
        : []),
    ]),
    ...pendingTokens(head).map(({ friendlyName, expiresAt }) => ({
      kind: 'token' as const,
      name: friendlyName,
      at: expiresAt,
    })),
    ...head.grants
      .filter(({ expiresAt, used, uses }) => used < uses && expiresAt > now && isNear(expiresAt))
      .map(({ names, expiresAt }) => ({ kind: 'grant' as const, name: names, at: expiresAt })),
  ];
}

function dueText({ kind, name, at }: Due): string {
  const shown = JSON.stringify(printable(name));
  const until = at === null ? '' : momentText(at);
  const isOver = at !== null && at * 1000 < Date.now();
  switch (kind) {
    case 'unconfirmed':
      return `${shown} has not confirmed the pairing; its first response to a request will`;
    case 'rotation':
      return `the next key of ${shown} waits for you to accept or to refuse it`;
    case 'device':
      return endText({ kind, name, endsAt: at ?? 0 });
    case 'lease':
      return isOver ? `the lease of ${shown} expired ${until}` : endText({ kind, name, endsAt: at ?? 0 });
    case 'token':
      return `no machine has taken the token for ${shown}, which ${isOver ? 'expired' : 'expires'} ${until}`;
    case 'grant':
      return `the grant ${shown} expires ${until}`;
  }
}

function rowsOf(
  title: string,
  devices: readonly DeviceEntry[],
  about: (device: DeviceEntry) => string,
): string[][] {
  if (devices.length === 0) return [[title, 'nobody']];
  const shown = devices.slice(0, MAX_NAMES);
  const rows = shown.map((device, i) => [
    i === 0 ? title : '',
    `${printable(device.friendlyName)}  (${device.deviceId})  ${about(device)}`,
  ]);
  const more = devices.length - shown.length;
  return more === 0 ? rows : [...rows, ['', `and ${more} more`]];
}

function aboutCaller(device: DeviceEntry, lastSeenAt: number | undefined): string {
  const { scopes, expiresAt, lease, keysSince } = device;
  const verb = (expiresAt ?? 0) * 1000 < Date.now() ? 'ended' : 'ends';
  const leaseEnd =
    lease !== undefined && isLeaseOver(device) ? `  lease expired ${momentText(lease.expiresAt)}` : '';
  // After the end of a lease, a later end lets nobody call.
  const end =
    expiresAt === undefined || (leaseEnd !== '' && verb === 'ends')
      ? ''
      : `  ${verb} ${momentText(expiresAt)}`;
  const cut = keysSince === undefined ? '' : `  ${cutText({ keysSince })}`;
  return `${seenText(lastSeenAt)}${scopes === undefined ? '' : `  ${scopesText(scopes)}`}${end}${leaseEnd}${cut}`;
}

function aboutTarget({ hosts, proves }: DeviceEntry): string {
  return `${hosts.join(', ') || 'no host'}${proves === false ? '  cannot prove its answers' : ''}`;
}

function seenText(lastSeenAt: number | undefined): string {
  return lastSeenAt === undefined ? 'not seen yet' : `seen ${momentText(lastSeenAt)}`;
}

function withSeen(device: DeviceEntry, seen: ReadonlyMap<string, number>) {
  return { ...device, lastSeenAt: lastSeenOf(device, seen) ?? null };
}
