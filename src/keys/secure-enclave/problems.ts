import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import { unavailable } from './compile';
import { EndedHelperError, HelperRefusal, SilentHelperError } from './helper';

const AGAIN = 'Try again; after a start of the Mac log in first. See docs/keys.md.';

/**
 * Turns a failure of the helper into an error that says what a person can do about it.
 *
 * @param path of the helper
 */
export function explain(cause: unknown, path: string): AmeshError {
  if (isAmeshError(cause)) return cause;
  if (cause instanceof HelperRefusal) return explainRefusal(cause, path);
  if (cause instanceof SilentHelperError)
    return unavailable('The helper of the Secure Enclave has not responded in time.', { fix: AGAIN, cause });
  if (cause instanceof EndedHelperError && cause.cause !== undefined)
    return unavailable(`The helper ${path} cannot be started (${(cause.cause as { code?: string }).code}).`, {
      fix: 'Make it executable with chmod 700; its file system has to allow programs.',
      cause,
    });
  if (cause instanceof EndedHelperError)
    return unavailable(`The helper ${path} ended without a response.`, { fix: AGAIN, cause });
  if (cause instanceof RangeError)
    return unavailable(`The program ${path} is not a working helper: it sent ${cause.message}.`, {
      fix: 'Update amesh, and see docs/keys.md.',
      cause,
    });
  return unavailable(`The helper ${path} cannot be used.`, { fix: AGAIN, cause });
}

function explainRefusal(cause: HelperRefusal, path: string): AmeshError {
  switch (cause.word) {
    case 'no-enclave':
      return unavailable('This Mac has no Secure Enclave: only one with Apple silicon or a T2 chip has.', {
        cause,
      });
    case 'foreign-key':
      return new AmeshError(
        KEY_CODES.key_lost,
        'The Secure Enclave of this Mac does not know the key: the folder comes from another Mac, or this one was erased.',
        {
          // The helper cannot distinguish a key of another Mac from a key that this Mac does not release yet.
          fix: 'If nobody has logged in since this Mac was started, log in, and try again. Otherwise use the folder on the Mac that made the key. If that is impossible and you made a second key (amesh init --next), take the list over: see docs/keys.md. Otherwise create a new identity, and pair again',
          command: KEY_CODES.key_lost.command,
          cause,
        },
      );
    case 'failed':
      return unavailable('The Secure Enclave failed.', { fix: AGAIN, cause });
    default:
      return explain(new RangeError('an unknown error', { cause }), path);
  }
}
