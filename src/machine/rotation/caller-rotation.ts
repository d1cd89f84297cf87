import type { CalledTarget } from '../../core/answers/asking';
import type { MaybePromise, Signer } from '../../core/crypto/provider';
import { toWithdrawal } from '../../core/rotation/field';
import { isInTime } from '../../core/rotation/rotation';
import type { AnsweredRotation } from '../../core/sign/options';
import type { FileStore } from '../../storage/files/file-store';
import { askTarget } from './ask-target';
import { isNews, issuedAtOf, noteAnswers, toldOf } from './change-rotation';
import { type Opened, withoutWorkingKey } from './live-device';
import { hasSaid, type OwnRotation, stateAfter, type ToldTarget } from './rotation-file';

/** How often a process tells a target the next key, until that accepts it. */
const TELL_EVERY_MS = 30_000;

/** How long the former key signs after the next one was accepted: long enough for each instance of a target to learn of it. */
const SETTLE_SECONDS = 5;

/** How long after a refusal has changed the key another one does not change it back. */
const REFUSED_EVERY_MS = 30_000;

type Which = 'former' | 'next';

/**
 * What a target says about the next key, as an own request has proven; `unknown` if it only knows the former one, and says
 * nothing about the next.
 */
type Found = 'accepted' | 'waiting' | 'refused' | 'unknown' | undefined;

/** What a process remembers about a target, in addition to the folder. */
interface Memory {
  /** When the last statement was sent to it, by `performance.now()`. */
  toldAtMs?: number | undefined;
  /** When a request of the next key has asked for a proof that it counts, by `performance.now()`. */
  askedAtMs?: number | undefined;
  /** What it has answered, until the folder has that. */
  learned?: Learned | undefined;
  /** The key that signs since the target refused the other one, and since when. */
  uses?: Which | undefined;
  refusedAtMs?: number | undefined;
  /** What was found out after that refusal. */
  finding?: Promise<Found> | undefined;
}

/** What a target has answered, and what the folder said before. */
interface Learned {
  readonly before: ToldTarget;
  readonly after: ToldTarget;
}

/** A request that a target has refused, as an answer says that nobody has proven, or an error about that answer. */
interface Doubtful {
  readonly target: CalledTarget;
  readonly told: ToldTarget;
  readonly used: Which;
}

export interface CallerRotationOptions {
  readonly store: FileStore;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
  /** Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** Sends own requests; default the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** Which key signs for which target while this machine replaces its key, and which request tells a target the next one. */
export class CallerRotation {
  readonly #options: CallerRotationOptions & { readonly now: () => number };
  readonly #memory = new Map<string, Memory>();
  readonly #doubtful = new WeakMap<object, Doubtful>();
  /** The rotation that the memory is about. */
  #own = '';
  /** What the folder has to learn. */
  readonly #unwritten = new Map<string, ToldTarget>();
  #isWriting = false;
  /** When that failed last, by `performance.now()`: a disk may be full for a while. */
  #failedAtMs: number | undefined;

  constructor({ store, tell, now = Date.now, fetch }: CallerRotationOptions) {
    this.#options = { store, tell, now, fetch };
  }

  /** The same target, with the key that signs this request and the statement for it. */
  called(target: CalledTarget, opened: Opened): MaybePromise<CalledTarget> {
    const { device, rotation } = opened;
    const { signer } = device;
    const told = rotation === null ? undefined : toldOf(rotation, target.deviceId);
    if (rotation === null || told === undefined) return { ...target, signer };
    this.#about(rotation);
    if (this.#unwritten.size > 0 && !isRecent(this.#failedAtMs)) void this.#write();
    const memory = this.#memoryOf(target.deviceId);
    if (rotation.withdrawnAt !== undefined) {
      const text = this.#withdrawalFor(memory, told, target);
      // Only the device key itself can take a key back.
      const own = (former: Signer) => (text === undefined ? former : withoutWorkingKey(former));
      return this.#byFormer(opened, target, (former) => ({ ...target, signer: own(former), rotation: text }));
    }
    const due = this.#dueFor(memory, told, target);
    const used = due === undefined ? this.#keyFor(memory, told) : 'former';
    const unproven = (answer: object) => void this.#doubtful.set(answer, { target, told, used });
    const refused = () => this.#refused(target.deviceId, told, used);
    const accepted = (proof: 'proven' | 'unproven') => this.#accepted(target.deviceId, told, proof);
    const called = { ...target, signer, refused, unproven };
    if (used === 'next') return this.#isOpen(memory, told, target) ? { ...called, accepted } : called;
    return this.#byFormer(opened, target, (former) => ({ ...called, signer: former, rotation: due }));
  }

  #byFormer(
    { device: { signer }, former }: Opened,
    target: CalledTarget,
    called: (former: Signer) => CalledTarget,
  ): Promise<CalledTarget> {
    return former().then(called, (error) => {
      this.#options.tell(
        `The former key of this machine cannot be used: ${error instanceof Error ? error.message : error} Targets that do not know the next key refuse it: pair them again.`,
      );
      return { ...target, signer };
    });
  }

  /** Forgets what another rotation was about. */
  #about({ own, withdrawnAt }: OwnRotation): void {
    const about = `${own} ${withdrawnAt === undefined}`;
    if (this.#own !== about) {
      this.#memory.clear();
      this.#unwritten.clear();
    }
    this.#own = about;
  }

  /** Notes what a target has answered, here and in the folder. */
  note(answered: AnsweredRotation, rotation: OwnRotation | null): void {
    const { targetId, answer, isProven } = answered;
    const told = rotation === null ? undefined : toldOf(rotation, targetId);
    if (rotation === null || told === undefined) return;
    const isWithdrawal =
      rotation.withdrawnAt !== undefined && answered.rotation === toWithdrawal(told.statement);
    if (!isWithdrawal && told.statement !== answered.rotation) return;
    const state = stateAfter(isWithdrawal ? 'withdraw' : 'rotate', answer);
    if (state === undefined) return;
    const memory = this.#memoryOf(targetId);
    // Otherwise a target that accepts the key, and refuses its requests, would have many of them refused.
    if (state === 'accepted' && isRecent(memory.refusedAtMs)) return;
    memory.uses = undefined;
    const learned: ToldTarget = { ...told, state, isProven, at: this.#nowSeconds() };
    if (!isNews(learned, latest(told, memory.learned))) return;
    this.#learn(targetId, told, learned);
    if (state === 'refused')
      this.#options.tell(
        `${targetId} refuses the next key of this machine, ${rotation.next.deviceId}. See amesh doctor.`,
      );
  }

  /**
   * After an answer that is not proven, and says that the target does not know the key: asks the target by a request of its own, whose
   * answer has to be proven, and at most once in 30 s. Nothing else changes the key over plain http.
   *
   * @param answer the response, or the error about it
   * @param isSafe whether the request has no effect. Somebody in between may hold it back, and have it carried out later, unless the
   *   target knows the two keys as those of one device
   * @returns `same` if the very same request may be sent again, `anew` if another key may sign it, `instead` if that has to be with the
   *   same nonce; undefined if neither
   */
  async afterUnproven(
    answer: object,
    { url, isSafe }: { readonly url: URL; readonly isSafe: boolean },
    opened: Opened,
  ): Promise<'same' | 'instead' | 'anew' | undefined> {
    const doubtful = this.#doubtful.get(answer);
    if (doubtful === undefined || opened.rotation === null) return undefined;
    if (doubtful.target.proves === false) {
      this.#options.tell(
        `${doubtful.target.deviceId} refuses the ${doubtful.used} key of this machine over plain http, where it can prove nothing. So that key goes on signing. If the target takes the next key alone: amesh rotate finish --force`,
      );
      return undefined;
    }
    const memory = this.#memoryOf(doubtful.target.deviceId);
    if (!isRecent(memory.refusedAtMs)) {
      memory.refusedAtMs = performance.now();
      memory.finding = this.#find(url, doubtful, opened);
    }
    const found = await memory.finding;
    if (doubtful.used === 'former') return found !== undefined && isSafe ? 'anew' : undefined;
    if (found === 'accepted') return 'same';
    // Somebody may hold the request back until the next key is accepted. A target that says that the key waits carries out one of the two then.
    if (found === 'refused' || (found !== undefined && isSafe)) return 'anew';
    return found === 'waiting' ? 'instead' : undefined;
  }

  /** Asks with the other key than the one that was refused. */
  async #find(url: URL, { target, told, used }: Doubtful, opened: Opened): Promise<Found> {
    const memory = this.#memoryOf(target.deviceId);
    const signer = used === 'former' ? opened.device.signer : await opened.former().catch(() => undefined);
    if (signer === undefined) return undefined;
    const rotation = used === 'next' ? told.statement : undefined;
    const { status, problem, answer, isProven } = await askTarget(url, {
      signer,
      called: { ...target, rotation },
      method: 'HEAD',
      answers: 'required',
      fetch: this.#options.fetch,
    });
    const targetId = target.deviceId;
    // An answer without a proof has no status here. One with a proof is to a signature that was right.
    const isRight = status !== null && problem === null;
    if (used === 'former') {
      if (!isRight) return undefined; // somebody in between may have written the refusal, so the former key stays in use
      memory.uses = 'next';
      this.#learn(targetId, told, { ...told, state: 'accepted', isProven: true, at: this.#nowSeconds() });
      return 'accepted';
    }
    if (!isRight) return undefined; // so does the next key
    memory.uses = 'former';
    memory.toldAtMs = undefined;
    if (answer === null || !isProven || answer === 'unavailable') {
      this.#unlearn(targetId, told);
      return answer === 'unavailable' && isProven ? 'waiting' : 'unknown'; // another instance may have it wait
    }
    memory.toldAtMs = performance.now();
    this.note({ targetId, rotation: told.statement, answer, isProven }, opened.rotation);
    return answer;
  }

  #keyFor(memory: Memory, told: ToldTarget): Which {
    if (memory.uses !== undefined) return memory.uses;
    const { state, at } = latest(told, memory.learned);
    const ageSeconds = Math.abs(this.#options.now() / 1000 - at);
    return state === 'accepted' && ageSeconds >= SETTLE_SECONDS ? 'next' : 'former';
  }

  /** The statement, if it is time to tell it: also where an accepted key was refused, or nothing proves that it was accepted. */
  #dueFor(memory: Memory, told: ToldTarget, target: CalledTarget): string | undefined {
    // The former key tells it. A target that refuses that key would refuse this request, too.
    if (memory.uses === 'next') return undefined;
    const isKnown = hasSaid(latest(told, memory.learned), 'accepted', target) && memory.uses === undefined;
    if (isKnown || isRecent(memory.toldAtMs, TELL_EVERY_MS)) return undefined;
    const issuedAt = issuedAtOf(told.statement);
    if (issuedAt === null || !isInTime({ issuedAt }, this.#options.now())) return undefined;
    memory.toldAtMs = performance.now();
    return told.statement;
  }

  /** What takes the next key back, if it is time to say that. */
  #withdrawalFor(memory: Memory, told: ToldTarget, target: CalledTarget): string | undefined {
    const isKnown = hasSaid(latest(told, memory.learned), 'withdrawn', target);
    if (isKnown || isRecent(memory.toldAtMs, TELL_EVERY_MS)) return undefined;
    memory.toldAtMs = performance.now();
    return toWithdrawal(told.statement);
  }

  /** Whether it is time to ask whether the target accepts the next key, which signs: after it has refused the former one. */
  #isOpen(memory: Memory, told: ToldTarget, target: CalledTarget): boolean {
    if (
      hasSaid(latest(told, memory.learned), 'accepted', target) ||
      isRecent(memory.askedAtMs, TELL_EVERY_MS)
    )
      return false;
    memory.askedAtMs = performance.now();
    return true;
  }

  /** Notes that the target has accepted a request that the next key has signed. */
  #accepted(targetId: string, told: ToldTarget, proof: 'proven' | 'unproven'): void {
    const isProven = proof === 'proven';
    const learned: ToldTarget = { ...told, state: 'accepted', isProven, at: this.#nowSeconds() };
    if (isNews(learned, latest(told, this.#memoryOf(targetId).learned))) this.#learn(targetId, told, learned);
  }

  /** @returns whether the other key signs from now on */
  #refused(targetId: string, told: ToldTarget, used: Which): boolean {
    const memory = this.#memoryOf(targetId);
    if (this.#keyFor(memory, told) !== used) return true; // another request at the same time was refused, too
    if (isRecent(memory.refusedAtMs)) return false;
    memory.refusedAtMs = performance.now();
    memory.finding = undefined;
    memory.uses = used === 'next' ? 'former' : 'next';
    memory.toldAtMs = undefined;
    if (used === 'next') this.#unlearn(targetId, told);
    return true;
  }

  /** A target that refuses the next key does not know it, whatever it has said: the former one must not be removed. */
  #unlearn(targetId: string, told: ToldTarget): void {
    this.#learn(targetId, told, { ...told, state: 'untold', isProven: false, at: this.#nowSeconds() });
  }

  #learn(targetId: string, before: ToldTarget, after: ToldTarget): void {
    this.#memoryOf(targetId).learned = { before, after };
    this.#unwritten.set(targetId, after);
    void this.#write();
  }

  /** Writes all that came while it wrote at once: there may be a thousand targets. */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    const { store, tell } = this.#options;
    this.#isWriting = true;
    this.#failedAtMs = undefined;
    while (this.#unwritten.size > 0 && this.#failedAtMs === undefined) {
      await Promise.resolve();
      const answered = new Map(this.#unwritten);
      this.#unwritten.clear();
      await noteAnswers(store, answered).catch((error) => {
        this.#failedAtMs = performance.now();
        for (const [id, told] of answered) if (!this.#unwritten.has(id)) this.#unwritten.set(id, told);
        tell(
          `What targets know about the next key of this machine cannot be written to ${store.dir}, so each process asks again: ${error instanceof Error ? error.message : error}`,
        );
      });
    }
    this.#isWriting = false;
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.now() / 1000);
  }

  #memoryOf(targetId: string): Memory {
    const memory = this.#memory.get(targetId) ?? {};
    this.#memory.set(targetId, memory);
    return memory;
  }
}

function isRecent(atMs: number | undefined, withinMs = REFUSED_EVERY_MS): boolean {
  return atMs !== undefined && performance.now() - atMs < withinMs;
}

/** What a process has learned, unless the folder says something else by now. */
function latest(told: ToldTarget, learned: Learned | undefined): ToldTarget {
  return learned !== undefined && isSame(told, learned.before) ? learned.after : told;
}

function isSame(a: ToldTarget, b: ToldTarget): boolean {
  return a.statement === b.statement && a.state === b.state && a.isProven === b.isProven && a.at === b.at;
}
