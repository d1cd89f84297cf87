import { CodePool } from './code-pool';
import type { RoomContext } from './context';
import type { BurnAnswer } from './effects';
import type { Session } from './states';

/** A code of this instance that must not be issued again yet. */
export interface RestingCode {
  readonly code: string;
  readonly restMs: number;
  readonly isBurnt: boolean;
  /** The session that the code leads to, while there is one. */
  readonly session: string | undefined;
}

/** The codes that this instance issued: the session of each, and which of them rest. */
export class Codes<S> {
  readonly #context: RoomContext<S>;
  readonly #pool: CodePool;
  readonly #sessions = new Map<string, Session<S>>();

  /** @param randomCode a whole number from 100000 to 999999, from a CSPRNG */
  constructor(context: RoomContext<S>, randomCode: () => number) {
    this.#context = context;
    this.#pool = new CodePool(randomCode);
  }

  /** Gives a session a code. @returns the code; null if no free one was found */
  allocate(session: Session<S>): string | null {
    const { codeMs, codeRestMs } = this.#context.limits;
    const code = this.#pool.allocate(this.#context.nowMs, codeMs + codeRestMs);
    if (code === null) return null;
    session.code = code;
    this.#sessions.set(code, session);
    return code;
  }

  /** Takes back the code of a session, because another instance issued it. */
  giveBack(session: Session<S>): void {
    const { code } = session;
    if (code === undefined) return;
    this.#sessions.delete(code);
    this.#pool.giveBack(code);
    session.code = undefined;
  }

  /** Answers for this instance what the cluster answers to a `Burn` request for all instances. */
  find(code: string): BurnAnswer {
    const session = this.#sessions.get(code);
    if (session === undefined) {
      return { state: this.#pool.isBurnt(code, this.#context.nowMs) ? 'used' : 'unknown' };
    }
    const isPaired = session.state.name === 'paired';
    return { state: isPaired ? 'used' : 'burnt', instance: null, session: session.id };
  }

  /** Notes that a client has joined with the code of this session. */
  burn({ code }: Session<S>): void {
    if (code === undefined) return;
    this.#pool.burn(code);
    this.#rest(code);
  }

  /** Notes that nobody can join with the code of this session any more. */
  retire({ id, code }: Session<S>): void {
    if (code === undefined) return;
    this.#rest(code);
    if (this.#context.isClustered) this.#context.ask({ type: 'rest', session: id, code });
  }

  /** Forgets that the code leads to this session. */
  forget(session: Session<S>): void {
    const { code } = session;
    // A code may rest for less time than a session lasts, so it may already lead to a newer session.
    if (code !== undefined && this.#sessions.get(code) === session) this.#sessions.delete(code);
  }

  /** All codes that must not be issued again yet. */
  *resting(nowMs: number): Generator<RestingCode> {
    for (const resting of this.#pool.resting(nowMs)) {
      yield { ...resting, session: this.#sessions.get(resting.code)?.id };
    }
  }

  #rest(code: string): void {
    this.#pool.rest(code, this.#context.nowMs, this.#context.limits.codeRestMs);
  }
}
