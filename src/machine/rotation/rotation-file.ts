import { cryptoProvider } from '#crypto';
import { toBase64Url, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { type RotationAnswer, readRotationField } from '../../core/rotation/field';
import { ROTATION_LIMITS, readRotation } from '../../core/rotation/rotation';
import { hasExactly, type JsonObject, parseObject } from '../../core/strict-json';
import { isDeviceId } from '../../core/wire/credentials';
import type { FileStore } from '../../storage/files/file-store';
import { type DeviceIdentity, toIdentity } from '../../trust/identity';
import { MACHINE_CODES } from '../errors/codes';

/** The file in the folder of an identity that says that its key is being replaced. */
export const ROTATION_KEY = 'rotation.json';

/** What a target knows about the next key of this device. `withdrawn`: the target knows that the key was withdrawn. */
export type ToldState = 'untold' | 'waiting' | 'accepted' | 'refused' | 'withdrawn';

/** A target that this device calls, during a rotation. */
export interface ToldTarget {
  /** Tells this target the next key; at most 1,024 characters. */
  readonly statement: string;
  /** What the target knows. */
  readonly state: ToldState;
  /** Whether the target has signed its answer. */
  readonly isProven: boolean;
  /** Since when, in Unix seconds. */
  readonly at: number;
}

/** The replacement of a device's key, until all its targets know the next one. */
export interface OwnRotation {
  /** The identity with the key that is replaced. */
  readonly former: DeviceIdentity;
  /** The identity with the next key. */
  readonly next: Pick<DeviceIdentity, 'deviceId' | 'publicKey' | 'createdAt' | 'key'>;
  /** Unix seconds. */
  readonly startedAt: number;
  /** Unix seconds; set while the rotation is taken back, until all targets know that. */
  readonly withdrawnAt?: number | undefined;
  /** The statement of this device about itself, at most 1,024 characters. */
  readonly own: string;
  /** The targets by their IDs. */
  readonly targets: Readonly<Record<string, ToldTarget>>;
}

/**
 * Reads the rotation that is under way in a folder, and checks that both keys have agreed to it.
 *
 * @returns null if there is none
 * @throws AmeshError `rotation_unreadable`
 */
export async function readRotationFile(store: FileStore): Promise<OwnRotation | null> {
  return (await openRotationFile(store))?.rotation ?? null;
}

/** A rotation with its stored bytes. Throws like {@link readRotationFile}. */
export async function openRotationFile(
  store: FileStore,
): Promise<{ readonly bytes: Uint8Array; readonly rotation: OwnRotation } | null> {
  const bytes = await store.read(ROTATION_KEY);
  if (bytes === null) return null;
  const value = parseObject(bytes);
  const rotation = value === null ? null : toOwnRotation(value);
  if (rotation === null || !(await isAgreed(rotation)))
    throw new AmeshError(MACHINE_CODES.rotation_unreadable, `${store.dir}/${ROTATION_KEY} is damaged.`);
  return { bytes, rotation };
}

/** @returns false if the file has other bytes than expected by now */
export function writeRotationFile(
  store: FileStore,
  expected: Uint8Array | null,
  rotation: OwnRotation,
): Promise<boolean> {
  const text = `${JSON.stringify({ version: 1, ...rotation }, null, 2)}\n`;
  return store.swap(ROTATION_KEY, expected, toUtf8(text));
}

/**
 * What a target knows after its answer.
 *
 * @returns undefined if the answer says nothing: an instance cannot tell, or the next key may still count after a withdrawal
 */
export function stateAfter(what: 'rotate' | 'withdraw', answer: RotationAnswer): ToldState | undefined {
  if (what === 'withdraw') return answer === 'withdrawn' ? answer : undefined;
  return answer === 'unavailable' || answer === 'withdrawn' ? undefined : answer;
}

/** How long the former key signs after the next one was accepted: long enough for each instance of a target to learn of it. */
const SETTLE_SECONDS = 5;

/** The key of this device that a target knows, according to what it has answered. */
export function keyAfter({ state, at }: Pick<ToldTarget, 'state' | 'at'>, nowMs: number): 'former' | 'next' {
  return state === 'accepted' && Math.abs(nowMs / 1000 - at) >= SETTLE_SECONDS ? 'next' : 'former';
}

/** What a list says about a target. */
export interface Listed {
  /** False if it cannot prove its answers. */
  readonly proves?: boolean | undefined;
}

/**
 * Whether a target has said that, and has proven it if it can prove its answers. Only then may steps follow that cannot be undone.
 */
export function hasSaid(
  { state, isProven }: Pick<ToldTarget, 'state' | 'isProven'>,
  what: 'accepted' | 'withdrawn',
  listed: Listed | undefined,
): boolean {
  return state === what && (isProven || listed?.proves === false);
}

/** The targets in a list that may not know yet that a rotation was taken back, or have not proven that they know it. */
export function unwithdrawn(
  { targets }: OwnRotation,
  entryOf: (deviceId: string) => Listed | undefined,
): string[] {
  return Object.entries(targets).flatMap(([id, told]) => {
    const listed = entryOf(id);
    return listed === undefined || hasSaid(told, 'withdrawn', listed) ? [] : [id];
  });
}

/** Whether a rotation belongs to this identity; a former identity may have left its file behind. */
export function isOf({ former, next }: OwnRotation, { deviceId }: Pick<DeviceIdentity, 'deviceId'>): boolean {
  return deviceId === former.deviceId || deviceId === next.deviceId;
}

const MEMBERS = ['version', 'former', 'next', 'startedAt', 'own', 'targets'];

function toOwnRotation(value: JsonObject): OwnRotation | null {
  const { version, former, next, startedAt, withdrawnAt, own, targets } = value;
  const isWithdrawn = 'withdrawnAt' in value;
  if (version !== 1 || !hasExactly(value, isWithdrawn ? [...MEMBERS, 'withdrawnAt'] : MEMBERS)) return null;
  const before = isObject(former) ? toIdentity(former) : null;
  const after = isObject(next) ? toIdentity({ friendlyName: '', ...next }) : null;
  if (before === null || after === null || !isSeconds(startedAt) || !isStatement(own)) return null;
  if ((isWithdrawn && !isSeconds(withdrawnAt)) || !isObject(targets)) return null;
  if (!Object.entries(targets).every(([id, target]) => isDeviceId(id) && isToldTarget(target))) return null;
  const { deviceId, publicKey, createdAt, key } = after;
  return {
    former: before,
    next: { deviceId, publicKey, createdAt, key },
    startedAt,
    ...(isWithdrawn && { withdrawnAt: withdrawnAt as number }),
    own,
    targets: targets as OwnRotation['targets'],
  };
}

function isToldTarget(value: unknown): boolean {
  if (!isObject(value) || !hasExactly(value, ['statement', 'state', 'isProven', 'at'])) return false;
  const { statement, state, isProven, at } = value;
  return isStatement(statement) && STATES.has(state) && typeof isProven === 'boolean' && isSeconds(at);
}

const STATES: ReadonlySet<unknown> = new Set<ToldState>([
  'untold',
  'waiting',
  'accepted',
  'refused',
  'withdrawn',
]);

async function isAgreed({ former, next, own }: OwnRotation): Promise<boolean> {
  const statement = await readRotation(own, cryptoProvider);
  if (statement === null || statement.targetId !== statement.formerId) return false;
  const isOf = (key: Uint8Array, id: string, { publicKey, deviceId }: OwnRotation['next']) =>
    toBase64Url(key) === publicKey && id === deviceId;
  return (
    isOf(statement.formerKey, statement.formerId, former) && isOf(statement.nextKey, statement.nextId, next)
  );
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a text has the form of a statement. Requests to a target carry it, so another text would break them all. */
function isStatement(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > ROTATION_LIMITS.characters) return false;
  return readRotationField(value)?.kind === 'rotate' && /^[\w.-]+$/.test(value);
}

function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
