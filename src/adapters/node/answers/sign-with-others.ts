import { AsyncResource } from 'node:async_hooks';
import { signTogether } from '#gather';

/**
 * Signs an answer together with others of this turn of the event loop. What listens to its end then has the stores of its own
 * request (AsyncLocalStorage).
 *
 * @param begin begins to sign it, and returns the function that sends it. Neither throws
 */
export function signWithOthers(begin: () => () => void): void {
  const scope = new AsyncResource('AmeshAnswer');
  let send: (() => void) | undefined;
  signTogether({
    sign() {
      send = scope.runInAsyncScope(begin);
    },
    send: () => scope.runInAsyncScope(() => send?.()),
  });
}
