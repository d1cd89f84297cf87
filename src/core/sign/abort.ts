/**
 * Waits for `work`, or rejects with the signal's reason as soon as it is aborted. The work itself continues.
 */
export function untilAborted<T>(signal: AbortSignal | null, work: Promise<T>): Promise<T> {
  if (signal === null) return work;
  return new Promise((resolve, reject) => {
    const stop = () => reject(reasonOf(signal));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

export function throwIfAborted(signal: AbortSignal | null): void {
  if (signal?.aborted) throw reasonOf(signal);
}

/** Signals of some libraries have no reason. */
function reasonOf({ reason }: AbortSignal): unknown {
  return reason ?? new DOMException('This call was aborted.', 'AbortError');
}

/** A signal of the platform's own class, which follows a signal of another library or realm. */
export function toOwnSignal(signal: AbortSignal): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  const other = signal as AbortSignal;
  const own = new AbortController();
  const abort = () => own.abort(other.reason);
  if (other.aborted) abort();
  else other.addEventListener('abort', abort, { once: true });
  return own.signal;
}
