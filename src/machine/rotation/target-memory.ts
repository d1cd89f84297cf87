import { toWithdrawal } from '../../core/rotation/field';
import type { AnsweredRotation } from '../../core/sign/options';
import type { FileStore } from '../../storage/files/file-store';
import { isNews, noteAnswers, toldOf } from './change-rotation';
import { type OwnRotation, stateAfter, type ToldTarget } from './rotation-file';

/** After a refusal has changed the key, another refusal does not change it back for this long. */
const REFUSED_EVERY_MS = 30_000;

/** The key that signs a request: the one that is being replaced, or the next one. */
export type Which = 'former' | 'next';

/**
 * What a target says about the next key in a proven answer to a request that asks about it; `unknown` if it only knows the former
 * key, and says nothing about the next one.
 */
export type Found = 'accepted' | 'waiting' | 'refused' | 'unknown' | undefined;

/** What a process remembers about a target, in addition to the folder. */
export interface Memory {
  /** When the last statement was sent to it, by `performance.now()`. */
  toldAtMs?: number | undefined;
  /** When a request of the next key has last asked for a proof that the target accepts that key, by `performance.now()`. */
  askedAtMs?: number | undefined;
  /** When the target last said that it does not withdraw the next key, by `performance.now()`, and whether it has proven that. */
  kept?: { readonly atMs: number; readonly isProven: boolean } | undefined;
  /** What the target has answered, until that is in the folder. */
  learned?: Learned | undefined;
  /** The key that signs since the target refused the other one. */
  uses?: Which | undefined;
  /** When a refusal last changed the key, or had the target asked about it, by `performance.now()`. */
  refusedAtMs?: number | undefined;
  /** What the request that was sent after that refusal finds out. */
  finding?: Promise<Found> | undefined;
}

/** What a target has answered, and what the folder said before. */
interface Learned {
  readonly before: ToldTarget;
  readonly after: ToldTarget;
}

export interface TargetMemoryOptions {
  readonly store: FileStore;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Whether nothing is written to the folder. */
  readonly isTrial: boolean;
}

/** What this process knows about its targets during a rotation. It also writes to the folder what they have answered. */
export class TargetMemory {
  readonly #options: TargetMemoryOptions;
  readonly #memories = new Map<string, Memory>();
  /** The rotation that the memories are about. */
  #own = '';
  /** What is not in the folder yet. */
  readonly #unwritten = new Map<string, ToldTarget>();
  #isWriting = false;
  /** When a write last failed, by `performance.now()`: a disk may be full for a while. */
  #failedAtMs: number | undefined;

  constructor(options: TargetMemoryOptions) {
    this.#options = options;
  }

  /** Forgets everything if it is about another rotation, and tries again to write what could not be written. */
  keepTo({ own, withdrawnAt }: OwnRotation): void {
    const about = `${own} ${withdrawnAt === undefined}`;
    if (this.#own !== about) {
      this.#memories.clear();
      this.#unwritten.clear();
    }
    this.#own = about;
    if (this.#unwritten.size > 0 && !isRecent(this.#failedAtMs)) void this.#write();
  }

  /** The memory of one target, which the caller may change. */
  of(targetId: string): Memory {
    const memory = this.#memories.get(targetId) ?? {};
    this.#memories.set(targetId, memory);
    return memory;
  }

  /** Notes what a target has answered. */
  note(answered: AnsweredRotation, rotation: OwnRotation | null): void {
    const { targetId, answer, isProven } = answered;
    const told = rotation === null ? undefined : toldOf(rotation, targetId);
    if (rotation === null || told === undefined) return;
    const isWithdrawal =
      rotation.withdrawnAt !== undefined && answered.rotation === toWithdrawal(told.statement);
    if (!isWithdrawal && told.statement !== answered.rotation) return;
    if (isWithdrawal && answer !== 'withdrawn' && answer !== 'unavailable')
      this.#noteKept(answered, rotation);
    const state = stateAfter(isWithdrawal ? 'withdraw' : 'rotate', answer);
    if (state === undefined) return;
    const memory = this.of(targetId);
    // Otherwise many requests would be refused, if a target says that it accepts the key, and refuses its requests.
    if (state === 'accepted' && isRecent(memory.refusedAtMs)) return;
    memory.uses = undefined;
    if (!this.#learnNews(targetId, told, { state, isProven })) return;
    if (state === 'refused')
      this.#options.tell(
        `${targetId} refuses the next key of this machine, ${rotation.next.deviceId}. See amesh doctor.`,
      );
  }

  /** A target that does not withdraw the next key says the same each time, until a person does something there. */
  #noteKept({ targetId, answer, isProven }: AnsweredRotation, { former, next }: OwnRotation): void {
    this.of(targetId).kept = { atMs: performance.now(), isProven };
    const proof = isProven ? '' : ' (not proven)';
    const why = answer === 'refused' ? 'It may still count there' : 'It is in the list there';
    const { deviceId } = answer === 'refused' ? former : next;
    this.#options.tell(
      `${targetId} does not withdraw ${next.deviceId}, and says ${answer}${proof}. ${why}. On the target: amesh revoke ${deviceId}. To give the target up: amesh rotate withdraw --force`,
    );
  }

  /** Notes that the target has accepted a request that the next key has signed. */
  noteAccepted(targetId: string, told: ToldTarget, proof: 'proven' | 'unproven'): void {
    this.#learnNews(targetId, told, { state: 'accepted', isProven: proof === 'proven' });
  }

  /** A target that refuses the next key does not know it, whatever it has said: the former one must not be removed. */
  unlearn(targetId: string, told: ToldTarget): void {
    this.learn(targetId, told, { state: 'untold', isProven: false });
  }

  /** Notes what the target says, whatever it has said before. */
  learn(targetId: string, before: ToldTarget, said: Pick<ToldTarget, 'state' | 'isProven'>): void {
    const after = { ...before, ...said, at: Math.floor(this.#options.now() / 1000) };
    this.of(targetId).learned = { before, after };
    this.#unwritten.set(targetId, after);
    void this.#write();
  }

  /** @returns whether it is news */
  #learnNews(targetId: string, told: ToldTarget, said: Pick<ToldTarget, 'state' | 'isProven'>): boolean {
    const isNew = isNews({ ...told, ...said }, latest(told, this.of(targetId)));
    if (isNew) this.learn(targetId, told, said);
    return isNew;
  }

  /** One write takes everything that came during the last one: there may be a thousand targets. */
  async #write(): Promise<void> {
    const { store, tell, isTrial } = this.#options;
    if (this.#isWriting || isTrial) return;
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
}

/** Whether that was less than `withinMs` ago; default 30 s. */
export function isRecent(atMs: number | undefined, withinMs = REFUSED_EVERY_MS): boolean {
  return atMs !== undefined && performance.now() - atMs < withinMs;
}

/** What this process has learned from a target, unless the folder says something else by now. */
export function latest(told: ToldTarget, { learned }: Memory): ToldTarget {
  return learned !== undefined && isSame(told, learned.before) ? learned.after : told;
}

function isSame(a: ToldTarget, b: ToldTarget): boolean {
  return a.statement === b.statement && a.state === b.state && a.isProven === b.isProven && a.at === b.at;
}
