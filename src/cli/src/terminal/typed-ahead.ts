import { InterruptedError } from '../errors/errors';

/** How long nothing may come before a question is shown, and how long that is waited for at most, in milliseconds. */
const QUIET_MS = 40;
const PATIENCE_MS = 1000;

/**
 * Throws away what was typed on the terminal before a question is shown: nobody has meant it as the answer. Leaves the
 * terminal raw, since the question comes next.
 *
 * @throws InterruptedError at Ctrl+C
 */
export async function dropTypedAhead(): Promise<void> {
  const { stdin } = process;
  // Line by line the system would keep back what no Enter has ended, and hand it to the question.
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
    // Two turns of the event loop read all that lies ready, however late this process comes to it.
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

/** Whether more of what was pasted may be on its way. */
function isSoon(lastAt: number, endsAt: number): boolean {
  const now = performance.now();
  return now < endsAt && now < lastAt + QUIET_MS;
}
