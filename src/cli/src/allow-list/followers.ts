import {
  type FileStore,
  hasSaid,
  issuedAtOf,
  type OwnRotation,
  type PagedList,
  readIdentity,
  readRotationFile,
  type ToldState,
} from '@authmesh/sdk/admin/list';
import { momentText } from '../words/duration';
import { here } from '../words/here';
import { printable } from '../words/printable';

/** How many targets a summary names. */
const MAX_NAMES = 12;

/** How long a target accepts a statement, in seconds: 30 days. */
const LIFE_SECONDS = 2_592_000;

/** A target, and what it knows about the next key of this machine. */
export interface Follower {
  readonly deviceId: string;
  /** Null if it is no longer a target of this machine. */
  readonly friendlyName: string | null;
  readonly hosts: readonly string[];
  readonly state: ToldState;
  /** Whether the target has signed that. */
  readonly isProven: boolean;
  /** Since when it knows that, in Unix seconds. */
  readonly since: number;
  /** Whether the statement for it is too old. */
  readonly isExpired: boolean;
  /** Whether it no longer needs the former key; or, if the rotation was withdrawn, whether it knows that. */
  readonly hasFollowed: boolean;
}

/** The replacement of this machine's key, as `--json` shows it. */
export interface Followers {
  readonly formerId: string;
  readonly nextId: string;
  /** Unix seconds. */
  readonly startedAt: number;
  readonly isWithdrawn: boolean;
  /** Whether this machine uses the next key. If not, and the rotation was not withdrawn, `amesh rotate` continues. */
  readonly isUsed: boolean;
  readonly targets: readonly Follower[];
}

/** Returns null if no key is being replaced. @throws AmeshError `rotation_unreadable` */
export async function readFollowers(store: FileStore, list: PagedList): Promise<Followers | null> {
  const [rotation, identity] = [await readRotationFile(store), await readIdentity(store)];
  // Another identity may have left the file behind, or somebody may have copied it here.
  const ids = [rotation?.former.deviceId, rotation?.next.deviceId];
  if (rotation === null || identity === null || !ids.includes(identity.deviceId)) return null;
  return followersOf(rotation, list, identity.deviceId);
}

/** @param ownId the ID of this machine now */
export function followersOf(rotation: OwnRotation, list: PagedList, ownId: string | undefined): Followers {
  const { former, next, startedAt, withdrawnAt } = rotation;
  const nowSeconds = Math.floor(Date.now() / 1000);
  const targets = Object.entries(rotation.targets).map(([deviceId, told]): Follower => {
    const { state, isProven, at: since, statement } = told;
    const known = list.entry(deviceId);
    return {
      deviceId,
      friendlyName: known?.friendlyName ?? null,
      hosts: known?.hosts ?? [],
      state,
      isProven,
      since,
      isExpired: (issuedAtOf(statement) ?? 0) + LIFE_SECONDS < nowSeconds,
      hasFollowed:
        known === undefined || hasSaid(told, withdrawnAt === undefined ? 'accepted' : 'withdrawn', known),
    };
  });
  const isWithdrawn = withdrawnAt !== undefined;
  return {
    formerId: former.deviceId,
    nextId: next.deviceId,
    startedAt,
    isWithdrawn,
    isUsed: ownId === next.deviceId,
    targets,
  };
}

/** The rows of a table: target, what it knows, since when, where it is. */
export function followerRows({ targets }: Followers): string[][] {
  return targets.map(({ deviceId, friendlyName, hosts, state, isProven, since }) => [
    friendlyName === null ? deviceId : `${printable(friendlyName)}  (${deviceId})`,
    (state === 'accepted' || state === 'withdrawn') && !isProven ? `${state}, not proven` : state,
    momentText(since),
    hosts.join(', ') || 'no host',
  ]);
}

/** Says how many targets no longer need the former key. */
export function followedText({ targets, isWithdrawn }: Followers): string {
  const done = targets.filter(({ hasFollowed }) => hasFollowed).length;
  const what = isWithdrawn ? `${targets.length === 1 ? 'knows' : 'know'} that it was withdrawn` : 'followed';
  return `${done} of ${targets.length} ${targets.length === 1 ? 'target' : 'targets'} ${what}`;
}

/** The rows of a key that is being replaced, for a table of this machine. */
export function ownRotationRows(followers: Followers | null): string[][] {
  if (followers === null) return [];
  const { formerId, nextId, startedAt, isWithdrawn, isUsed, targets } = followers;
  if (!isWithdrawn && !isUsed)
    return [
      ['rotation', `to ${nextId}, made ${momentText(startedAt)} and not used yet: ${here('amesh rotate')}`],
    ];
  const what = isWithdrawn
    ? `back to ${formerId}, without ${nextId}`
    : `from ${formerId} to ${nextId}, since ${momentText(startedAt)}`;
  const left = targets.filter(({ hasFollowed }) => !hasFollowed).slice(0, MAX_NAMES);
  return [
    ['rotation', `${what}  ${followedText(followers)}`],
    ...followerRows({ ...followers, targets: left }).map((row) => ['', row.join('  ')]),
  ];
}

/** Targets by their names, a few of them. */
export function namesOf(targets: readonly Pick<Follower, 'deviceId' | 'friendlyName'>[]): string {
  const names = targets
    .slice(0, 5)
    .map(({ friendlyName, deviceId }) =>
      friendlyName === null ? deviceId : JSON.stringify(printable(friendlyName)),
    );
  return targets.length > names.length
    ? `${names.join(', ')} and ${targets.length - names.length} more`
    : names.join(', ');
}
