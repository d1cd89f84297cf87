import { asSentence } from '../../core/errors/define-codes';
import type { Log } from '../../process/log';

/** @param error why an answer could not be signed for a caller that asked for it */
export function tellUnsigned(error: unknown, log: Pick<Log, 'seldom'>): void {
  const { message, cause } = error instanceof Error ? error : new Error(String(error));
  const reason = cause instanceof Error ? ` (${cause.message})` : '';
  log.seldom(
    'unsigned answers',
    `An answer went out unsigned, although its caller asked for a proof: ${asSentence(message)}${reason} Such callers may refuse the answers of this server until this is fixed.`,
  );
}
