import { provenHead } from '../../core/answers/proven-by';
import type { AllowListSource } from '../../core/devices/allow-list';
import { type AnswerUnprovenError, isAmeshError } from '../../core/errors/amesh-error';
import { momentText } from '../../core/moment';
import { RateLimit } from '../../core/rate-limit';
import { ROTATION_LIMITS } from '../../core/rotation/rotation';
import { requestOf } from '../../core/sign/sent-request';
import type { Log } from '../../process/log';
import type { Device } from '../../trust/device';
import { followMove } from '../../trust/moves/follow-move';

/** The least time between two attempts to write what an answer said: the folder may not be writable, for example. */
const AGAIN_MS = 30_000;
/** How many statements are remembered for that. */
const MOST_TRIED = 100;
/** A target can sign any number of statements, and each would write the list and a line in the log. */
const MOVES = { burst: 8, everyMs: 3_600_000 } as const;

/** The parts of the machine that calls. */
interface Caller {
  readonly list: AllowListSource;
  readonly device: () => Promise<Device>;
  readonly log: Pick<Log, 'once' | 'seldom'>;
}

/**
 * Notes that a target has moved to another key, once a proven answer says so. If that cannot be written to the list, later answers
 * say it again, for 30 days from the move.
 */
export class Moves {
  readonly #triedAtMs = new Map<string, number>();
  readonly #limit = new RateLimit(MOVES);

  /** Never rejects: the caller gets its response, and a later response tries again. */
  async take(response: Response, { list, device, log }: Caller): Promise<void> {
    const { succession } = provenHead(response) ?? {};
    const { target } = requestOf(response) ?? {};
    if (succession === undefined || target === undefined) return;
    const { text } = succession;
    const triedAtMs = this.#triedAtMs.get(text);
    if (triedAtMs !== undefined && performance.now() - triedAtMs <= AGAIN_MS) return;
    if (triedAtMs === undefined && !this.#limit.take(target, Date.now())) {
      log.seldom(
        'moves',
        `${target} names one next key after the other. It may move ${MOVES.burst} times, and then once an hour. If that is wrong, ask its owner, or revoke it: amesh revoke ${target}`,
      );
      return;
    }
    this.#noteTried(text);
    const { formerId, nextId, issuedAt } = succession;
    const both = `${target} has moved to another key: its answers are proven by ${nextId} now, and no longer by ${formerId}`;
    try {
      const { trust } = await device();
      const nowSeconds = Math.floor(Date.now() / 1000);
      const { result } = await trust.update((draft) => followMove(draft, target, succession, nowSeconds));
      list.expire?.();
      const until = momentText((nowSeconds + ROTATION_LIMITS.overlapSeconds) * 1000);
      if (result) log.once(`${both}. Answers of the former key count until ${until}.`);
    } catch (error) {
      const until = momentText((issuedAt + ROTATION_LIMITS.lifeSeconds) * 1000);
      log.once(
        `${both}. That could not be written to the allow list (${(error as Error).message}), so such answers are proven only until ${until}.`,
      );
    }
  }

  /**
   * Logs that a key has named two next keys, so that somebody else has it, too. People should not have to find that in an error.
   */
  tell(error: unknown, { log }: Pick<Caller, 'log'>, { host }: URL): void {
    if (isAmeshError(error) && (error as Partial<AnswerUnprovenError>).namesTwoKeys)
      log.seldom(
        `two next keys at ${host}`,
        `${error.detail} Ask its owner which key is the right one. If it is not the first one named here, revoke the target (amesh revoke) and pair it again.`,
      );
  }

  #noteTried(text: string): void {
    this.#triedAtMs.delete(text); // moves to the end, so that the oldest one is dropped first
    if (this.#triedAtMs.size >= MOST_TRIED)
      this.#triedAtMs.delete(this.#triedAtMs.keys().next().value as string);
    this.#triedAtMs.set(text, performance.now());
  }
}
