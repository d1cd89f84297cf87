import { type ListOwners, type MountedKey, NoAnswerKey, readAnswerKey } from '../../core/answers/mounted-key';
import type { AnswerSigner } from '../../core/answers/sign-answer';
import { momentText } from '../../core/moment';
import { STATEMENT_LIMITS } from '../../core/statements/statement';
import { readVariable, VariableError } from '../../process/environment';
import type { Log } from '../../process/log';
import { dueWarning } from '../../trust/rights/ends';

export const ANSWER_KEY_VARIABLE = 'AMESH_ANSWER_KEY';

/** The notice of an instance without an answer key, logged once. */
export const CANNOT_PROVE =
  'This instance cannot prove its answers: it has no private key and no AMESH_ANSWER_KEY, so callers that ask for a proof may refuse them. Make an answer key on the machine with the key of the list: amesh answer-key. See docs/production.md, "Answer keys".';

const RENEW = 'Make a new one on the machine with the key of the list: amesh answer-key';

/** The answer key in AMESH_ANSWER_KEY, for an instance without a private key. */
export class MountedAnswerKey {
  readonly #key: MountedKey;
  readonly #log: Pick<Log, 'once'>;
  readonly #now: () => number;

  constructor(key: MountedKey, log: Pick<Log, 'once'>, now: () => number) {
    this.#key = key;
    this.#log = log;
    this.#now = now;
  }

  /** Supplies the key; undefined once it has ended: answers are then sent unsigned. */
  async signer(): Promise<AnswerSigner | undefined> {
    if (this.warn() === 'ended') return undefined;
    return this.#key.open().catch((error) => {
      throw asVariable(error);
    });
  }

  /** Logs that the key ends within 14, 7 and 1 days, and that it has ended; each of these once. */
  warn(): 'ended' | 'valid' {
    const { issuedAt, expiresAt } = this.#key;
    const nowSeconds = Math.floor(this.#now() / 1000);
    const until = momentText(expiresAt * 1000);
    if (nowSeconds > expiresAt) {
      this.#log.once(
        `${ANSWER_KEY_VARIABLE} ended at ${until}. Answers go out unsigned, and callers that ask for a proof may refuse them. ${RENEW}`,
      );
      return 'ended';
    }
    const lifeSeconds = expiresAt - issuedAt - STATEMENT_LIMITS.backdatedSeconds;
    const days = dueWarning({ endsAt: expiresAt, lifeSeconds }, nowSeconds);
    if (days !== null)
      this.#log.once(
        `${ANSWER_KEY_VARIABLE} ends within ${days === 1 ? '1 day' : `${days} days`}, at ${until}. ${RENEW}`,
      );
    return 'valid';
  }
}

/**
 * Opens an answer key.
 *
 * @param given the text of the key; undefined if there is none
 * @param owners the owners of the list that the instance reads
 * @returns undefined if there is none
 * @throws VariableError if it is not an answer key of this target. If hashing is asynchronous, that is logged instead
 */
export function mountAnswerKey(
  given: unknown,
  owners: ListOwners,
  log: Pick<Log, 'once'>,
  now: () => number = Date.now,
): MountedAnswerKey | undefined {
  const text = readVariable({ [ANSWER_KEY_VARIABLE]: given }, ANSWER_KEY_VARIABLE, 'wrong');
  if (text === undefined) return undefined;
  try {
    const key = readAnswerKey(text, owners);
    key.open().catch((error) => log.once(`${(asVariable(error) as Error).message} Answers go out unsigned.`));
    const mounted = new MountedAnswerKey(key, log, now);
    mounted.warn();
    return mounted;
  } catch (error) {
    throw asVariable(error);
  }
}

function asVariable(error: unknown): unknown {
  return error instanceof NoAnswerKey
    ? new VariableError(ANSWER_KEY_VARIABLE, error.wrong, error.fix)
    : error;
}
