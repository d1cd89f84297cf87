import type { CalledTarget } from '../../core/answers/asking';
import type { MaybePromise, Signer } from '../../core/crypto/provider';
import { toWithdrawal } from '../../core/rotation/field';
import { isInTime } from '../../core/rotation/rotation';
import type { AnsweredRotation } from '../../core/sign/options';
import type { FileStore } from '../../storage/files/file-store';
import { issuedAtOf, toldOf } from './change-rotation';
import { DoubtfulAnswers } from './doubtful-answers';
import { type OpenedKeys, withoutWorkingKey } from './live-device';
import { hasSaid, keyAfter, type OwnRotation, type ToldTarget } from './rotation-file';
import { isRecent, latest, type Memory, TargetMemory, type Which } from './target-memory';

/** How often a process tells a target the next key, until that target accepts it. */
const TELL_EVERY_MS = 30_000;

/** How often a process tells a target to withdraw a key, once that has said that it does not. */
const WITHDRAW_AGAIN_MS = 3_600_000;

export interface CallerRotationOptions {
  readonly store: FileStore;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
  /** Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** Sends the requests that ask a target about a key; default the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * Whether this only finds out which key a target accepts: it does not tell targets the next key, and writes nothing to the folder.
   * Default false.
   */
  readonly isTrial?: boolean | undefined;
}

/** Which key signs for which target while this machine replaces its key, and which request tells a target the next one. */
export class CallerRotation {
  readonly #tell: (line: string) => void;
  readonly #now: () => number;
  readonly #targets: TargetMemory;
  readonly #isTrial: boolean;
  /** The refusals that nobody has proven. */
  readonly doubtful: DoubtfulAnswers;

  constructor({ store, tell, now = Date.now, fetch, isTrial = false }: CallerRotationOptions) {
    this.#tell = tell;
    this.#now = now;
    this.#isTrial = isTrial;
    this.#targets = new TargetMemory({ store, tell, now, isTrial });
    this.doubtful = new DoubtfulAnswers({ memory: this.#targets, tell, fetch, isTrial });
  }

  /** The same target, with the key that signs this request and the statement for it. */
  called(target: CalledTarget, opened: OpenedKeys): MaybePromise<CalledTarget> {
    const { device, rotation } = opened;
    const { signer } = device;
    const told = rotation === null ? undefined : toldOf(rotation, target.deviceId);
    if (rotation === null || told === undefined) return { ...target, signer };
    this.#targets.keepTo(rotation);
    const memory = this.#targets.of(target.deviceId);
    if (rotation.withdrawnAt !== undefined) {
      const text = this.#isTrial ? undefined : withdrawalFor(memory, told, target);
      // Only the device key itself can take a key back.
      const own = (former: Signer) => (text === undefined ? former : withoutWorkingKey(former));
      return this.#byFormer(opened, target, (former) => ({ ...target, signer: own(former), rotation: text }));
    }
    const due = this.#dueFor(memory, told, target);
    const used = due === undefined ? this.#keyFor(memory, told) : 'former';
    const unproven = (answer: object) => this.doubtful.add(answer, { target, told, used });
    const refused = () => this.#refused(target.deviceId, told, used);
    const accepted = (proof: 'proven' | 'unproven') =>
      this.#targets.noteAccepted(target.deviceId, told, proof);
    const called = { ...target, signer, refused, unproven };
    if (used === 'next') return isTimeToAsk(memory, told, target) ? { ...called, accepted } : called;
    return this.#byFormer(opened, target, (former) => ({
      ...called,
      signer: former,
      rotation: this.#isTrial ? undefined : due,
    }));
  }

  /** Notes what a target has answered, here and in the folder. */
  note(answered: AnsweredRotation, rotation: OwnRotation | null): void {
    this.#targets.note(answered, rotation);
  }

  #byFormer(
    { device: { signer }, former }: OpenedKeys,
    target: CalledTarget,
    called: (former: Signer) => CalledTarget,
  ): Promise<CalledTarget> {
    return former().then(called, (error) => {
      this.#tell(
        `The former key of this machine cannot be used: ${error instanceof Error ? error.message : error} Targets that do not know the next key refuse it: pair them again.`,
      );
      return { ...target, signer };
    });
  }

  #keyFor(memory: Memory, told: ToldTarget): Which {
    return memory.uses ?? keyAfter(latest(told, memory), this.#now());
  }

  /**
   * The statement, if it is time to send it. It is also sent if the target has refused a key that it had accepted, or if nothing
   * proves that it has accepted the key.
   */
  #dueFor(memory: Memory, told: ToldTarget, target: CalledTarget): string | undefined {
    // Only the former key may sign the statement. A target that refuses that key would refuse this request, too.
    if (memory.uses === 'next') return undefined;
    const isKnown = hasSaid(latest(told, memory), 'accepted', target) && memory.uses === undefined;
    if (isKnown || isRecent(memory.toldAtMs, TELL_EVERY_MS)) return undefined;
    const issuedAt = issuedAtOf(told.statement);
    if (issuedAt === null || !isInTime({ issuedAt }, this.#now())) return undefined;
    memory.toldAtMs = performance.now();
    return told.statement;
  }

  /** @returns whether the other key signs from now on */
  #refused(targetId: string, told: ToldTarget, used: Which): boolean {
    const memory = this.#targets.of(targetId);
    if (this.#keyFor(memory, told) !== used) return true; // another request at the same time was refused, too
    if (isRecent(memory.refusedAtMs)) return false;
    memory.refusedAtMs = performance.now();
    memory.finding = undefined;
    memory.uses = used === 'next' ? 'former' : 'next';
    memory.toldAtMs = undefined;
    if (used === 'next') this.#targets.unlearn(targetId, told);
    return true;
  }
}

/** The text that takes the next key back, if it is time to send it. */
function withdrawalFor(memory: Memory, told: ToldTarget, target: CalledTarget): string | undefined {
  const isKnown = hasSaid(latest(told, memory), 'withdrawn', target);
  if (isKnown || isRecent(memory.toldAtMs, TELL_EVERY_MS)) return undefined;
  // Without a proof, somebody in between may have written that answer.
  const hasKept = memory.kept !== undefined && (memory.kept.isProven || target.proves === false);
  if (hasKept && isRecent(memory.kept?.atMs, WITHDRAW_AGAIN_MS)) return undefined;
  memory.toldAtMs = performance.now();
  return toWithdrawal(told.statement);
}

/** Whether a request of the next key has to ask whether the target accepts that key: it may only have refused the former one. */
function isTimeToAsk(memory: Memory, told: ToldTarget, target: CalledTarget): boolean {
  const isKnown = hasSaid(latest(told, memory), 'accepted', target);
  if (isKnown || isRecent(memory.askedAtMs, TELL_EVERY_MS)) return false;
  memory.askedAtMs = performance.now();
  return true;
}
