import { cryptoProvider } from '#crypto';
import type { Acceptance } from '../../bootstrap/provision/acceptance';
import { type AllowList, type AllowListSource, isOwnId } from '../../core/devices/allow-list';
import { equalBytes, fromBase64Url } from '../../core/encoding';
import { RateLimit } from '../../core/rate-limit';
import {
  ROTATION_HEADER,
  type RotationAnswer,
  type RotationField,
  readRotationField,
} from '../../core/rotation/field';
import { isInTime, ROTATION_LIMITS, type Rotation, readRotation } from '../../core/rotation/rotation';
import type { AnswerHeaders } from '../../core/verify/verdict';
import type { Log } from '../../process/log';
import type { Device } from '../../trust/device';
import type { ListDraft } from '../../trust/format/draft';
import { isNextOf } from '../../trust/format/entry';
import { PagedList } from '../../trust/format/paged-list';
import {
  type AcceptRotation,
  type Proposed,
  proposeSuccessor,
  retireFormer,
} from '../../trust/rotation/successor';
import { withdrawById, withdrawStatement } from '../../trust/rotation/withdraw';
import { logRotation, type RotationEvent, type RotationRefusal } from './rotation-log';

/** How many statements are kept after they were read, so that the signatures of the same statement are not checked again. */
const MAX_STATEMENTS = 1000;

/** How long a refusal counts while the list stays the same: later, the statement may show that two parties have the key. */
const REFUSED_MS = 300_000;

/** How often a device may change its keys. */
const CHANGES = { burst: 64, everyMs: 60_000 };

/** What is known about a statement. */
interface Known {
  /** Null if it is not a statement. */
  readonly rotation: Promise<Rotation | null>;
  /** A refusal, the list that it is based on, and its time in Unix milliseconds. */
  refused?: { readonly by: WeakRef<AllowList>; readonly atMs: number };
  /** The change of the list for this statement, while it runs. */
  changing?: Promise<RotationAnswer> | undefined;
}

export interface RotationTakerOptions {
  readonly accept: AcceptRotation;
  readonly device: () => Promise<Device>;
  readonly list: AllowListSource;
  readonly log: Pick<Log, 'once' | 'seldom'>;
  /** Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/**
 * Handles what callers say about their next keys, and makes the answer.
 *
 * @see docs/protocol.md, "Rotation"
 */
export class RotationTaker {
  readonly #accept: AcceptRotation;
  readonly #device: () => Promise<Device>;
  readonly #list: AllowListSource;
  readonly #log: Pick<Log, 'once' | 'seldom'>;
  readonly #now: () => number;
  readonly #statements = new Map<string, Known>();
  /** Each change writes the list, and leaves an entry in it for some time. A trusted device must not fill the list. */
  readonly #limit = new RateLimit(CHANGES);
  /** What changes nothing is only logged, and a trusted device must not fill the log: it can name a new ID each time. */
  readonly #lines = new RateLimit(CHANGES);

  constructor({ accept, device, list, log, now = Date.now }: RotationTakerOptions) {
    this.#accept = accept;
    this.#device = device;
    this.#list = list;
    this.#log = log;
    this.#now = now;
  }

  /** @returns undefined for a request that says nothing about a next key */
  take(acceptance: Acceptance): Promise<AnswerHeaders> | undefined {
    const { rotation: text } = acceptance;
    if (text === undefined) return undefined;
    return this.#answer(text, acceptance).then(
      (answer) => ({ [ROTATION_HEADER]: answer }),
      (error) => {
        // The request stays accepted: it has nothing to do with this error.
        const why = error instanceof Error ? error.message : String(error);
        this.#log.seldom('rotation', `A change of a caller's key was not recorded: ${why}`);
        return { [ROTATION_HEADER]: 'unavailable' };
      },
    );
  }

  async #answer(text: string, acceptance: Acceptance): Promise<RotationAnswer> {
    const field = readRotationField(text);
    if (field === null) return this.#refuse('malformed', acceptance);
    if (acceptance.isDelegate) return this.#refuse('delegate', acceptance);
    if ('nextId' in field) return this.#end(field, acceptance);
    // Checked before the text is kept: a field can be as long as all headers together.
    if (field.text.length > ROTATION_LIMITS.characters) return this.#refuse('malformed', acceptance);
    const known = this.#knownOf(field.text);
    const rotation = await known.rotation;
    if (rotation === null) return this.#refuse('malformed', acceptance);
    const fault = faultOf(rotation, acceptance);
    if (fault !== null) return this.#refuse(fault, acceptance);
    if (field.kind === 'withdraw-statement') return this.#withdraw(rotation, acceptance);
    const listed = stateIn(acceptance.list, rotation);
    if (listed === 'accepted' || (listed === 'waiting' && this.#accept !== 'auto')) return listed;
    if (!isInTime(rotation, this.#now())) return this.#refuse('time', acceptance);
    if (this.#accept === false) return this.#refuse('off', acceptance);
    const { refused } = known;
    const isRecent = refused !== undefined && Math.abs(this.#now() - refused.atMs) < REFUSED_MS;
    if (isRecent && refused.by.deref() === acceptance.list) return 'refused';
    known.changing ??= this.#propose(rotation, known, acceptance).finally(() => {
      known.changing = undefined;
    });
    return known.changing;
  }

  #knownOf(text: string): Known {
    const known = this.#statements.get(text) ?? { rotation: readRotation(text, cryptoProvider) };
    this.#statements.delete(text); // moves to the end, so that the least recently used one is dropped first
    this.#statements.set(text, known);
    if (this.#statements.size > MAX_STATEMENTS)
      this.#statements.delete(this.#statements.keys().next().value as string);
    return known;
  }

  async #propose(rotation: Rotation, known: Known, acceptance: Acceptance): Promise<RotationAnswer> {
    const { statements, list } = acceptance;
    this.#count(acceptance);
    const { result: proposed } = await this.#update((draft, nowSeconds) =>
      proposeSuccessor(draft, rotation, {
        accept: this.#accept,
        isWorkingKey: (deviceId) => statements.has(deviceId),
        nowSeconds,
      }),
    );
    this.#note(EVENTS[proposed], acceptance, rotation.nextId);
    if (proposed === 'waiting' || proposed === 'accepted') return proposed;
    known.refused = { by: new WeakRef(list), atMs: this.#now() };
    return 'refused';
  }

  /** Takes back a successor, or ends the time in which both keys count. The answer says whether the next key still counts. */
  async #end(
    { kind, nextId }: Extract<RotationField, { nextId: string }>,
    acceptance: Acceptance,
  ): Promise<RotationAnswer> {
    const { deviceId } = acceptance.device;
    return this.#change({ kind, nextId }, acceptance, async (draft, nowSeconds) => {
      if (kind === 'withdraw') return withdrawById(draft, deviceId, nextId, nowSeconds);
      return (await retireFormer(draft, deviceId, nextId, nowSeconds)) ? 'accepted' : 'refused';
    });
  }

  /** Takes back a statement, even one that has not arrived yet. */
  #withdraw(rotation: Rotation, acceptance: Acceptance): Promise<RotationAnswer> {
    return this.#change({ kind: 'withdraw', nextId: rotation.nextId }, acceptance, (draft, nowSeconds) =>
      withdrawStatement(draft, rotation, nowSeconds),
    );
  }

  async #change(
    { kind, nextId }: Extract<RotationField, { nextId: string }>,
    acceptance: Acceptance,
    change: (draft: ListDraft, nowSeconds: number) => Promise<RotationAnswer>,
  ): Promise<RotationAnswer> {
    if (!acceptance.isOwnKey) return this.#refuse('working-key', acceptance);
    const { list, device } = acceptance;
    // A successor that the list in memory knows is not counted: nobody can keep an owner from taking a key back.
    let isFree = isAfter(list, device.deviceId, nextId);
    const { result: answer, isChanged } = await this.#update(async (draft, nowSeconds) => {
      const result = await change(draft, nowSeconds);
      if (!draft.isChanged || isFree) return result;
      this.#count(acceptance);
      isFree = true; // another process may be faster, then this runs again
      return result;
    });
    const isDone = answer === (kind === 'withdraw' ? 'withdrawn' : 'accepted');
    if (!isDone) {
      if (this.#lines.take(idOf(acceptance), this.#now()))
        this.#note(answer === 'refused' ? 'none' : 'stays', acceptance, nextId);
    } else if (kind === 'retire' || isChanged) this.#note(kind, acceptance, nextId);
    return answer;
  }

  /** @throws Error if the device changes its keys too often */
  #count(acceptance: Acceptance): void {
    if (this.#limit.take(idOf(acceptance), this.#now())) return;
    throw new Error(
      `${acceptance.device.deviceId} wants to change its keys more than 64 times, and more than once a minute.`,
    );
  }

  async #update<T>(
    change: (draft: ListDraft, nowSeconds: number) => Promise<T>,
  ): Promise<{ readonly result: T; readonly isChanged: boolean }> {
    const { trust } = await this.#device();
    const changed = await trust.update((draft) => change(draft, Math.floor(this.#now() / 1000)));
    if (changed.isChanged) this.#list.expire?.();
    return changed;
  }

  #refuse(why: RotationRefusal, acceptance: Acceptance): 'refused' {
    this.#note(why, acceptance);
    return 'refused';
  }

  #note(what: RotationEvent, { device }: Acceptance, nextId?: string): void {
    logRotation(what, device, nextId, this.#log.once);
  }
}

const EVENTS: Readonly<Record<Proposed, RotationEvent>> = {
  waiting: 'waiting',
  accepted: 'accepted',
  refused: 'key',
  revoked: 'revoked',
};

/** The ID under which a device is limited, whichever of its keys calls. */
function idOf({ device: { deviceId, formerIds } }: Acceptance): string {
  return formerIds?.[0] ?? deviceId;
}

/** What is wrong with a statement: it is about another device, for another target, or about the key of this machine. */
function faultOf({ formerId, formerKey, nextId, targetId }: Rotation, { device, list }: Acceptance) {
  const key = fromBase64Url(device.publicKey) ?? new Uint8Array();
  if (device.deviceId !== formerId || !equalBytes(key, formerKey)) return 'foreign';
  if (!isOwnId(list, targetId)) return 'elsewhere';
  return isOwnId(list, nextId) ? 'own' : null;
}

/** What the list already says about a rotation; null if it says nothing, or is not a list of this machine. */
function stateIn(list: AllowList, { formerId, nextId }: Rotation): 'waiting' | 'accepted' | null {
  if (!(list instanceof PagedList)) return null;
  const former = list.entry(formerId);
  const next = list.entry(nextId);
  if (former === undefined || !isNextOf(former, next)) return null;
  return next.pending ? 'waiting' : 'accepted';
}

/** Whether a list in memory has a key as one that has followed that of a device. */
function isAfter(list: AllowList, formerId: string, nextId: string): boolean {
  if (!(list instanceof PagedList)) return false;
  const seen = new Set<string>(); // stops at a circle
  let entry = list.entry(formerId);
  while (entry?.next !== undefined && !seen.has(entry.deviceId)) {
    if (entry.next === nextId) return true;
    seen.add(entry.deviceId);
    const next = list.entry(entry.next);
    entry = isNextOf(entry, next) ? next : undefined;
  }
  return false;
}
