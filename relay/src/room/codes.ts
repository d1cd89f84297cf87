import { CodePool } from './code-pool';
import type { Hall } from './context';
import type { BurnAnswer } from './effects';
import type { Session } from './session';

/** A code that has been given out here and is not to be given out again. */
export interface RestingCode {
  readonly code: string;
  readonly restMs: number;
  readonly isBurnt: boolean;
  /** The session that it has led to, while that runs. */
  readonly session: string | undefined;
}

/** The codes that were given out here: which session each leads to, and which of them rest. */
export class Codes<P> {
  readonly #hall: Hall<P>;
  readonly #pool: CodePool;
  readonly #sessions = new Map<string, Session<P>>();

  /** @param randomCode a whole number from 100000 to 999999 out of a CSPRNG */
  constructor(hall: Hall<P>, randomCode: () => number) {
    this.#hall = hall;
    this.#pool = new CodePool(randomCode);
  }

  /** How many lead to a session. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Gives a session a code. @returns whether one was found */
  take(session: Session<P>): boolean {
    const { codeMs, codeRestMs } = this.#hall.limits;
    const code = this.#pool.take(this.#hall.nowMs, codeMs + codeRestMs);
    if (code === null) return false;
    session.code = code;
    this.#sessions.set(code, session);
    return true;
  }

  /** Another instance has given it out before. */
  giveBack(session: Session<P>): void {
    this.#sessions.delete(session.code);
    this.#pool.giveBack(session.code);
    session.code = '';
  }

  /** Whose is this code? As other instances are asked, only that here nobody can come in between. */
  find(code: string): BurnAnswer {
    const session = this.#sessions.get(code);
    if (session === undefined) {
      return { state: this.#pool.isBurnt(code, this.#hall.nowMs) ? 'used' : 'unknown' };
    }
    return { state: session.isRunning ? 'used' : 'burnt', instance: null, session: session.id };
  }

  /** Somebody has joined with it. */
  burn({ code }: Session<P>): void {
    this.#pool.burn(code);
    this.#rest(code);
  }

  /** Nobody will join with it any more. */
  giveUp({ id, code }: Session<P>): void {
    if (code === '') return;
    this.#rest(code);
    if (this.#hall.isShared) this.#hall.ask({ type: 'rest', session: id, code });
  }

  /** It leads to this session no longer. */
  forget(session: Session<P>): void {
    if (this.#sessions.get(session.code) === session) this.#sessions.delete(session.code);
  }

  /** All that nobody may get again yet. */
  *resting(nowMs: number): Generator<RestingCode> {
    for (const resting of this.#pool.resting(nowMs)) {
      yield { ...resting, session: this.#sessions.get(resting.code)?.id };
    }
  }

  #rest(code: string): void {
    this.#pool.rest(code, this.#hall.nowMs, this.#hall.limits.codeRestMs);
  }
}
