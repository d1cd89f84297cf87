/**
 * Waits for `work`, or rejects with the signal's reason as soon as the signal is aborted. The work itself continues.
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

/** Waits for that time, or rejects with the signal's reason as soon as the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal | null): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await untilAborted(signal, over).finally(() => clearTimeout(timer));
}

/** Signals of some libraries have no reason. One that was given may be anything, also null. */
function reasonOf({ reason }: AbortSignal): unknown {
  return reason === undefined ? new DOMException('This call was aborted.', 'AbortError') : reason;
}

/**
 * Does work with a signal of the platform's own class, which follows a signal of another library or realm. It stops following when
 * the work ends, since the other signal may live as long as the program.
 */
export async function withOwnSignal<T>(
  signal: AbortSignal,
  work: (own: AbortSignal) => Promise<T>,
): Promise<T> {
  if (signal instanceof AbortSignal) return work(signal);
  const other = signal as AbortSignal;
  const own = new AbortController();
  const abort = () => own.abort(other.reason);
  if (other.aborted) abort();
  else other.addEventListener('abort', abort, { once: true });
  try {
    return await work(own.signal);
  } finally {
    other.removeEventListener('abort', abort);
  }
}
