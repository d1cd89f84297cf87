import type { Limits } from '../limits/limits';
import type {
  Burn,
  BurnAnswer,
  Claim,
  ClaimAnswer,
  Leave,
  Post,
  PostAnswer,
  Rest,
  Wait,
  WaitAnswer,
  Withdraw,
} from '../room/effects';
import { isId } from '../wire/instance-message';
import { BURN, CLAIM, keys, LEAVE, POST, REST, WAIT, WITHDRAW } from './redis-scripts';

/** Runs a script of redis-scripts.ts. */
export type RunScript = (
  script: string,
  keys: readonly string[],
  values: readonly string[],
) => Promise<unknown>;

export interface RedisRequestsOptions {
  /** The ID of this instance. */
  readonly instance: string;
  readonly limits: Limits;
  readonly run: RunScript;
}

/** Carries out the requests of a room in Redis. Each method rejects if Redis does not answer. */
export class RedisRequests {
  readonly #instance: string;
  readonly #limits: Limits;
  readonly #run: RunScript;

  constructor({ instance, limits, run }: RedisRequestsOptions) {
    this.#instance = instance;
    this.#limits = limits;
    this.#run = run;
  }

  /** @returns `forgotten`: Redis has another epoch, so it has lost all codes of this one */
  async claim({ code, session }: Claim, epoch: string): Promise<ClaimAnswer | 'forgotten'> {
    const { codeMs, codeRestMs } = this.#limits;
    const value = `open ${this.#instance} ${session}`;
    const answer = await this.#run(
      CLAIM,
      [keys.code(code), keys.epoch],
      [epoch, value, String(codeMs + codeRestMs)],
    );
    return answer === 'claimed' || answer === 'taken' ? answer : 'forgotten';
  }

  async burn({ code }: Burn): Promise<BurnAnswer> {
    const value = await this.#run(BURN, [keys.code(code)], [String(this.#limits.codeRestMs)]);
    const [state, owner, session] = String(value).split(' ');
    if (state !== 'open' && state !== 'used') return { state: 'unknown' };
    if (isId(owner) && isId(session)) {
      const instance = owner === this.#instance ? null : owner;
      return { state: state === 'open' ? 'burnt' : 'used', instance, session };
    }
    return { state: state === 'open' ? 'unknown' : 'used' };
  }

  async rest({ code, session }: Rest): Promise<void> {
    const value = `open ${this.#instance} ${session}`;
    await this.#run(REST, [keys.code(code)], [value, String(this.#limits.codeRestMs)]);
  }

  async post({ box, body }: Post): Promise<PostAnswer> {
    // An envelope with a gap for the session, since only Redis knows the waiting client.
    const before = '{"type":"mail","session":"';
    const after = `","body":${JSON.stringify(body)},"from":"${this.#instance}"}`;
    const sessionMs = String(this.#limits.sessionMs);
    const values = [toFull(body), sessionMs, keys.channel(''), before, after];
    const answer = await this.#run(POST, [keys.box(box)], values);
    return answer === 'stored' || answer === 'delivered' ? answer : 'used';
  }

  async wait({ box, session }: Wait): Promise<WaitAnswer> {
    const value = `wait ${this.#instance} ${session}`;
    const { sessionMs, messageBytes } = this.#limits;
    const answer = await this.#run(WAIT, [keys.box(box)], [value, String(sessionMs), keys.instance('')]);
    if (answer === 'waiting' || answer === 'used') return answer;
    const body: unknown = JSON.parse(String(answer).slice('full '.length));
    if (typeof body !== 'string' || Buffer.byteLength(body) > messageBytes) return 'used';
    return { body };
  }

  async leave({ box, session }: Leave): Promise<void> {
    await this.#run(LEAVE, [keys.box(box)], [`wait ${this.#instance} ${session}`]);
  }

  async withdraw({ box, body }: Withdraw): Promise<void> {
    await this.#run(WITHDRAW, [keys.box(box)], [body === undefined ? 'done' : toFull(body)]);
  }
}

/** The value of a mailbox that holds this message. */
function toFull(body: string): string {
  return `full ${JSON.stringify(body)}`;
}
