import { isAmeshError } from '@authmesh/sdk/core';
import { InterruptedError } from '../errors/errors';

/**
 * Runs something that Ctrl+C and SIGTERM end cleanly.
 *
 * @param work receives a signal whose reason is an InterruptedError
 * @param message the error's message; default: nothing was changed
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  message?: string,
): Promise<T> {
  const controller = new AbortController();
  const stop = () => controller.abort(new InterruptedError(message));
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    // Something was written before; the message says what.
    const wasLate = controller.signal.aborted && isAmeshError(error) && error.code === 'pairing_unconfirmed';
    throw wasLate ? new InterruptedError(`Interrupted. ${error.message}`) : error;
  } finally {
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}
