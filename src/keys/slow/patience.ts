import { within } from '../../core/within';

/** After this time, in milliseconds, amesh says that it waits. */
export const NOTICE_MS = 2_000;
/** After this time, in milliseconds, the wait is over. */
export const DEADLINE_MS = 60_000;

/** How long to wait for an agent or a device, which may wait for a person. */
export interface Patience {
  /** The time after which `onWait` is called, in milliseconds. */
  readonly noticeMs: number;
  /** The time after which the wait is over if there is no answer, in milliseconds. */
  readonly deadlineMs: number;
  readonly onWait?: (() => void) | undefined;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

/** What to do during the wait. */
export interface Waiting {
  readonly signal?: AbortSignal | undefined;
  /** Called with a sentence for a person; default: a line on stderr. */
  readonly onWait?: ((sentence: string) => void) | undefined;
}

/** @param sentence for a person who waits */
export function toPatience(
  { signal, onWait }: Waiting,
  sentence: string,
  { noticeMs, deadlineMs }: { readonly noticeMs: number; readonly deadlineMs: number },
): Patience {
  const tell = onWait ?? ((text: string) => console.warn(`amesh: ${text}`));
  const atMost = `amesh waits at most ${deadlineMs / 1000} s.`;
  return { noticeMs, deadlineMs, signal, onWait: () => tell(`${sentence} ${atMost}`) };
}

/** @throws the error that `late` makes if `answer` does not resolve in time */
export async function waitFor<T>(
  { noticeMs, deadlineMs, onWait, signal }: Patience,
  answer: Promise<T>,
  late: () => Error,
): Promise<T> {
  const notice = setTimeout(() => onWait?.(), noticeMs);
  let giveUp = () => {};
  const wait = () =>
    new Promise<T>((resolve, reject) => {
      giveUp = () => reject(late());
      answer.then(resolve, reject);
      if (signal?.aborted) giveUp();
      else signal?.addEventListener('abort', giveUp);
    });
  try {
    return await within(deadlineMs, wait, late);
  } finally {
    clearTimeout(notice);
    signal?.removeEventListener('abort', giveUp);
  }
}
