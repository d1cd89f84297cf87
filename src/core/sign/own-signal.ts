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
