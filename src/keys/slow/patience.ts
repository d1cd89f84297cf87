import { within } from '../../core/within';

/** After so many milliseconds amesh says that it waits. */
export const NOTICE_MS = 2_000;
/** After so many milliseconds the wait is over. */
export const DEADLINE_MS = 60_000;

/** How long to wait for an agent or a device, which may wait for a person. */
export interface Patience {
  /** After so many milliseconds `onWait` is called. */
  readonly noticeMs: number;
  /** After so many milliseconds without an answer the wait is over. */
  readonly deadlineMs: number;
  readonly onWait?: (() => void) | undefined;
  /** Ends the wait at once. */
  readonly signal?: AbortSignal | undefined;
}

/** What a caller does while it waits. */
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

/** @throws what `late` makes if `answer` is not there in time */
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
