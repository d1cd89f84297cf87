/** How often to check the process, in milliseconds: less often after many checks. */
const SOON_MS = 100;
const LATER_MS = 1000;
const MANY_LOOKS = 100;

/**
 * Calls `start` once this process listens on a TCP port. Builds and tools also load modules that create a server, and nothing may
 * start there. Some runtimes and processes do not reveal that they listen (Bun, cluster workers, Unix sockets): there, `start` is
 * never called, and the first request has to do its work.
 *
 * It does not keep the process alive.
 *
 * @returns a function that stops the checks
 */
export function onceListening(start: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let looks = 0;
  const look = () => {
    if (isListening()) start();
    else wait();
  };
  const wait = () => {
    timer = setTimeout(look, ++looks < MANY_LOOKS ? SOON_MS : LATER_MS);
    timer.unref?.();
  };
  wait();
  return () => clearTimeout(timer);
}

function isListening(): boolean {
  return process.getActiveResourcesInfo?.().includes('TCPServerWrap') ?? false;
}
