import { isAmeshError } from '@authmesh/sdk/core';
import { asLate } from '../errors/changes';
import { CommandError, UsageError } from '../errors/errors';

const MAY_HAVE_ENDED =
  'The request may have been carried out. Look at the log of the server, and of what is between.';

/** What fetch refuses to send, before it calls anybody. */
const UNSENDABLE = /^UND_ERR_(?:INVALID_ARG|NOT_SUPPORTED)$/;

interface FetchError extends Error {
  readonly cause?: { readonly code?: string; readonly message?: string } | undefined;
}

/** The error for a request that fetch has refused before it called anybody; null for any other error of fetch. */
export function unsendable({ port }: URL, error: unknown): UsageError | null {
  const { message, cause } = error as FetchError;
  if (cause?.message === 'bad port')
    return new UsageError(`The port ${port} is one that fetch never calls.`, {
      hint: 'The port belongs to another protocol: let the server listen on another one.',
    });
  if (cause !== undefined && !UNSENDABLE.test(cause.code ?? '')) return null;
  return new UsageError(`This request cannot be sent: ${cause?.message ?? message}`);
}

/** Throws the error of a body that cannot be read to its end. */
export function cutOff(error: unknown): never {
  if (isAmeshError(error)) throw asLate(error);
  const { message, cause } = error as FetchError;
  const why = cause?.code ?? cause?.message ?? message;
  throw new CommandError(
    'no_answer',
    /^(?:Z_|ERR_(?:_ERROR|BROTLI|ZSTD))/.test(why)
      ? `The body of the response is not what its Content-Encoding says: ${why}.`
      : `The response was cut off: ${why}.`,
    MAY_HAVE_ENDED,
    { isUnchanged: false },
  );
}
