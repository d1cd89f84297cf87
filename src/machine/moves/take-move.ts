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

/** The least time between two attempts to write what an answer said, for example in a folder that cannot be written. */
const AGAIN_MS = 30_000;
/** How many statements are remembered for that. */
const MOST_TRIED = 100;
/** A target can sign as many statements as it likes, and each of them would write the list and a line. */
const MOVES = { burst: 8, everyMs: 3_600_000 } as const;

/** What a machine that calls has for this. */
interface Caller {
  readonly list: AllowListSource;
  readonly device: () => Promise<Device>;
  readonly log: Pick<Log, 'once' | 'seldom'>;
}

/**
 * Notes that a target has moved to another key, once a proven answer says so. Until that is in the list, each answer for 30
 * days from the move proves it again.
 */
export class Moves {
  readonly #triedAtMs = new Map<string, number>();
  readonly #limit = new RateLimit(MOVES);

  /** Never rejects: the caller gets its response, and a later one tries again. */
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

  /** A key that names two next ones is in other hands, too, which nobody should have to look for in an error. */
  tell(error: unknown, { log }: Pick<Caller, 'log'>, { host }: URL): void {
    if (isAmeshError(error) && (error as Partial<AnswerUnprovenError>).namesTwoKeys)
      log.seldom(
        `two next keys at ${host}`,
        `${error.detail} Ask its owner which key is the right one. If it is not the first one named here, revoke the target (amesh revoke) and pair it again.`,
      );
  }

  #noteTried(text: string): void {
    this.#triedAtMs.delete(text); // at the end, so that the one that was tried longest ago goes first
    if (this.#triedAtMs.size >= MOST_TRIED)
      this.#triedAtMs.delete(this.#triedAtMs.keys().next().value as string);
    this.#triedAtMs.set(text, performance.now());
  }
}
