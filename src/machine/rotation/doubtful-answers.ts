import type { CalledTarget } from '../../core/answers/asking';
import { askTarget } from './ask-target';
import type { OpenedKeys } from './live-device';
import type { ToldTarget } from './rotation-file';
import { type Found, isRecent, type TargetMemory, type Which } from './target-memory';

/** A request that a target has refused, according to an answer that is not proven, or to an error about such an answer. */
interface Doubtful {
  readonly target: CalledTarget;
  readonly told: ToldTarget;
  /** The key that has signed the request. */
  readonly used: Which;
}

export interface DoubtfulAnswersOptions {
  /** What is known about the targets, and noted about them. */
  readonly memory: TargetMemory;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
  /** Sends the requests that ask a target about a key; default the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Whether targets are not told the next key. */
  readonly isTrial: boolean;
}

/** Refusals that nobody has proven: asks the target with a request of its own whether it knows the key that has signed. */
export class DoubtfulAnswers {
  readonly #options: DoubtfulAnswersOptions;
  readonly #doubtful = new WeakMap<object, Doubtful>();

  constructor(options: DoubtfulAnswersOptions) {
    this.#options = options;
  }

  /** Remembers what an answer, or the error about it, is an answer to. */
  add(answer: object, doubtful: Doubtful): void {
    this.#doubtful.set(answer, doubtful);
  }

  /**
   * After an answer that is not proven and says that the target does not know the key: asks the target with a separate request,
   * whose answer has to be proven, at most once in 30 s. Over plain http, nothing else changes the key.
   *
   * @param answer the response, or the error about it
   * @param isSafe whether the request has no effect. Somebody in between may hold back any other request, and have it carried out
   *   later, unless the target knows the two keys as keys of one device
   * @returns `same` if exactly the same request may be sent again; `anew` if the other key may sign it; `instead` if the other key
   *   may sign it with the same nonce; undefined if nothing may be sent
   */
  async afterUnproven(
    answer: object,
    { url, isSafe }: { readonly url: URL; readonly isSafe: boolean },
    opened: OpenedKeys,
  ): Promise<'same' | 'instead' | 'anew' | undefined> {
    const doubtful = this.#doubtful.get(answer);
    if (doubtful === undefined || opened.rotation === null) return undefined;
    if (doubtful.target.proves === false) {
      this.#options.tell(
        `${doubtful.target.deviceId} refuses the ${doubtful.used} key of this machine over plain http, where it can prove nothing. So that key still signs. If the target only accepts the next key: amesh rotate finish --force`,
      );
      return undefined;
    }
    const memory = this.#options.memory.of(doubtful.target.deviceId);
    if (!isRecent(memory.refusedAtMs)) {
      memory.refusedAtMs = performance.now();
      memory.finding = this.#find(url, doubtful, opened);
    }
    const found = await memory.finding;
    if (doubtful.used === 'former') return found !== undefined && isSafe ? 'anew' : undefined;
    if (found === 'accepted') return 'same';
    // Somebody may hold the request back until the next key is accepted. If the key waits at the target, the target will then carry
    // out only one of two requests with the same nonce.
    if (found === 'refused' || (found !== undefined && isSafe)) return 'anew';
    return found === 'waiting' ? 'instead' : undefined;
  }

  /** Asks with the key that was not refused. */
  async #find(url: URL, { target, told, used }: Doubtful, opened: OpenedKeys): Promise<Found> {
    const targetId = target.deviceId;
    const targets = this.#options.memory;
    const memory = targets.of(targetId);
    const signer = used === 'former' ? opened.device.signer : await opened.former().catch(() => undefined);
    if (signer === undefined) return undefined;
    const rotation = used === 'next' && !this.#options.isTrial ? told.statement : undefined;
    const { status, problem, answer, isProven } = await askTarget(url, {
      signer,
      called: { ...target, rotation },
      method: 'HEAD',
      answers: 'required',
      fetch: this.#options.fetch,
    });
    // An answer without a proof has no status here. A target proves only answers to requests whose signature was right.
    const isRight = status !== null && problem === null;
    if (!isRight) return undefined; // somebody in between may have written the refusal, so the same key still signs
    if (used === 'former') {
      memory.uses = 'next';
      targets.learn(targetId, told, { state: 'accepted', isProven: true });
      return 'accepted';
    }
    memory.uses = 'former';
    memory.toldAtMs = undefined;
    if (answer === null || !isProven || answer === 'unavailable' || answer === 'withdrawn') {
      targets.unlearn(targetId, told);
      return answer === 'unavailable' && isProven ? 'waiting' : 'unknown'; // the key may wait at another instance
    }
    memory.toldAtMs = performance.now();
    targets.note({ targetId, rotation: told.statement, answer, isProven }, opened.rotation);
    return answer;
  }
}
