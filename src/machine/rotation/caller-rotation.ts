import type { CalledTarget } from '../../core/answers/asking';
import type { MaybePromise } from '../../core/crypto/provider';
import { toRotationField } from '../../core/rotation/field';
import { isInTime } from '../../core/rotation/rotation';
import type { AnsweredRotation } from '../../core/sign/options';
import type { FileStore } from '../../storage/files/file-store';
import { issuedAtOf, noteAnswer } from './change-rotation';
import { type Opened, withoutWorkingKey } from './live-device';
import type { OwnRotation, ToldTarget } from './rotation-file';

/** How often a process tells a target the next key, until that accepts it. */
const TELL_EVERY_MS = 30_000;

/** How long the former key signs after the next one was accepted: so long until each instance of a target knows of that. */
const SETTLE_SECONDS = 5;

/** How long after a refusal has changed the key another one does not change it back. */
const REFUSED_EVERY_MS = 30_000;

type Which = 'former' | 'next';

/** What a process remembers about a target, beside what the folder says. */
interface Memory {
  /** When it was told last, by `performance.now()`. */
  toldAtMs?: number | undefined;
  /** What it has answered, until the folder has that. */
  learned?: Learned | undefined;
  /** The key that signs since the target refused the other one, and since when. */
  uses?: Which | undefined;
  refusedAtMs?: number | undefined;
}

/** What a target has answered, and what the folder said before. */
interface Learned {
  readonly before: ToldTarget;
  readonly after: ToldTarget;
}

export interface CallerRotationOptions {
  readonly store: FileStore;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
  /** Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** Which key signs for which target while this machine replaces its key, and which request tells a target the next one. */
export class CallerRotation {
  readonly #options: CallerRotationOptions & { readonly now: () => number };
  readonly #memory = new Map<string, Memory>();
  /** The rotation that the memory is about. */
  #own = '';
  #writing: Promise<void> = Promise.resolve();

  constructor({ store, tell, now = Date.now }: CallerRotationOptions) {
    this.#options = { store, tell, now };
  }

  /** The same target, with the key that signs this request and what it is told. */
  called(target: CalledTarget, { device, rotation, former }: Opened): MaybePromise<CalledTarget> {
    const { signer } = device;
    const told = rotation === null ? undefined : toldOf(rotation, target.deviceId);
    if (rotation === null || told === undefined) return { ...target, signer };
    this.#about(rotation);
    const memory = this.#memoryOf(target.deviceId);
    const isWithdrawn = rotation.withdrawnAt !== undefined;
    const uses = isWithdrawn ? 'former' : this.#keyFor(memory, told);
    const refused = () => !isWithdrawn && this.#refused(memory, told, uses);
    if (uses === 'next') return { ...target, signer, refused };
    return former().then(
      (formerSigner) => {
        if (!isWithdrawn)
          return { ...target, signer: formerSigner, rotation: this.#dueFor(memory, told), refused };
        const text = this.#withdrawalFor(memory, told, rotation.next.deviceId);
        // Only the device key itself can take a key back.
        const own = text === undefined ? formerSigner : withoutWorkingKey(formerSigner);
        return { ...target, signer: own, rotation: text };
      },
      (error) => {
        this.#options.tell(
          `The former key of this machine cannot be used: ${error instanceof Error ? error.message : error} Targets that do not know the next key refuse it: pair them again.`,
        );
        return { ...target, signer };
      },
    );
  }

  /** Forgets what another rotation was about. */
  #about({ own, withdrawnAt }: OwnRotation): void {
    const about = `${own} ${withdrawnAt === undefined}`;
    if (this.#own !== about) this.#memory.clear();
    this.#own = about;
  }

  /** Notes what a target has answered, here and in the folder. */
  note(answered: AnsweredRotation, rotation: OwnRotation | null): void {
    const { targetId, answer, isProven } = answered;
    const told = rotation === null ? undefined : toldOf(rotation, targetId);
    if (rotation === null || told === undefined || answer === 'unavailable') return;
    const isWithdrawal = rotation.withdrawnAt !== undefined && answered.rotation === withdrawalOf(rotation);
    if (!isWithdrawal && told.statement !== answered.rotation) return;
    const state = isWithdrawal ? 'withdrawn' : answer;
    const memory = this.#memoryOf(targetId);
    if (answer === 'accepted') memory.uses = undefined;
    const known = latest(told, memory.learned);
    if (known.isProven && !isProven && !isWithdrawal) return; // nobody vouches for what is new
    if (known.state === state && known.isProven === isProven) return;
    const at = Math.floor(this.#options.now() / 1000);
    const learned: ToldTarget = { ...told, state, isProven, at };
    memory.learned = { before: told, after: learned };
    memory.uses = undefined;
    const { store, tell } = this.#options;
    if (state === 'refused')
      tell(`${targetId} refuses the next key of this machine, ${rotation.next.deviceId}. See amesh doctor.`);
    this.#writing = this.#writing
      .then(() => noteAnswer(store, targetId, learned))
      .then(
        () => {},
        (error) =>
          tell(
            `What targets know about the next key of this machine cannot be written to ${store.dir}, so each process asks anew: ${error instanceof Error ? error.message : error}`,
          ),
      );
  }

  #keyFor(memory: Memory, told: ToldTarget): Which {
    if (memory.uses !== undefined) return memory.uses;
    const { state, at } = latest(told, memory.learned);
    const ageSeconds = Math.abs(this.#options.now() / 1000 - at);
    return state === 'accepted' && ageSeconds >= SETTLE_SECONDS ? 'next' : 'former';
  }

  /** The statement, if it is time to tell it: also where an accepted key was refused, or nothing proves that it was accepted. */
  #dueFor(memory: Memory, told: ToldTarget): string | undefined {
    const { state } = latest(told, memory.learned);
    const nowMs = performance.now();
    const { toldAtMs = Number.NEGATIVE_INFINITY } = memory;
    if (nowMs - toldAtMs < TELL_EVERY_MS || (state === 'accepted' && memory.uses === undefined))
      return undefined;
    const issuedAt = issuedAtOf(told.statement);
    if (issuedAt === null || !isInTime({ issuedAt }, this.#options.now())) return undefined;
    memory.toldAtMs = nowMs;
    return told.statement;
  }

  /** What takes the next key back, if it is time to say that. */
  #withdrawalFor(memory: Memory, told: ToldTarget, nextId: string): string | undefined {
    const nowMs = performance.now();
    const { toldAtMs = Number.NEGATIVE_INFINITY } = memory;
    if (latest(told, memory.learned).state === 'withdrawn' || nowMs - toldAtMs < TELL_EVERY_MS)
      return undefined;
    memory.toldAtMs = nowMs;
    return toRotationField('withdraw', nextId);
  }

  /** @returns whether the other key signs from now on */
  #refused(memory: Memory, told: ToldTarget, used: Which): boolean {
    if (this.#keyFor(memory, told) !== used) return true; // a request beside this one was refused, too
    const nowMs = performance.now();
    if (memory.refusedAtMs !== undefined && nowMs - memory.refusedAtMs < REFUSED_EVERY_MS) return false;
    memory.refusedAtMs = nowMs;
    memory.uses = used === 'next' ? 'former' : 'next';
    memory.toldAtMs = undefined;
    return true;
  }

  #memoryOf(targetId: string): Memory {
    const memory = this.#memory.get(targetId) ?? {};
    this.#memory.set(targetId, memory);
    return memory;
  }
}

function withdrawalOf({ next }: OwnRotation): string {
  return toRotationField('withdraw', next.deviceId);
}

function toldOf({ targets }: OwnRotation, targetId: string): ToldTarget | undefined {
  return Object.hasOwn(targets, targetId) ? targets[targetId] : undefined;
}

/** What a process has learned, unless the folder says something else by now. */
function latest(told: ToldTarget, learned: Learned | undefined): ToldTarget {
  return learned !== undefined && isSame(told, learned.before) ? learned.after : told;
}

function isSame(a: ToldTarget, b: ToldTarget): boolean {
  return a.statement === b.statement && a.state === b.state && a.isProven === b.isProven && a.at === b.at;
}
