import { InterruptedError } from '../errors/errors';

/** How long input must pause before a question is shown, and how long to wait for that at most, in milliseconds. */
const QUIET_MS = 40;
const PATIENCE_MS = 1000;

/**
 * Discards input typed on the terminal before a question is shown, since it was not meant as the answer. Leaves the
 * terminal in raw mode for the question.
 *
 * @throws InterruptedError at Ctrl+C
 */
export async function dropTypedAhead(): Promise<void> {
  const { stdin } = process;
  // In line mode, the system would keep an unfinished line and pass it to the question.
  stdin.setRawMode(true);
  const endsAt = performance.now() + PATIENCE_MS;
  let lastAt = performance.now();
  let isInterrupted = false;
  const onData = (bytes: Buffer | string) => {
    lastAt = performance.now();
    isInterrupted ||= bytes.includes('\u0003'); // a raw terminal sends no signal
  };
  stdin.on('data', onData);
  stdin.resume();
  try {
    // Two turns of the event loop read everything available, even if this process is slow.
    for (let turns = 0; turns < 2 || isSoon(lastAt, endsAt); turns++) {
      if (stdin.readableEnded || isInterrupted) break;
      await new Promise((resolve) => (turns < 2 ? setImmediate(resolve) : setTimeout(resolve, 5)));
    }
  } finally {
    stdin.off('data', onData);
    stdin.pause();
  }
  if (!isInterrupted) return;
  stdin.setRawMode(false);
  process.stderr.write('\n');
  throw new InterruptedError();
}

/** Whether more pasted input may follow. */
function isSoon(lastAt: number, endsAt: number): boolean {
  const now = performance.now();
  return now < endsAt && now < lastAt + QUIET_MS;
}
