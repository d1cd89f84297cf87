/** How often a process is looked at, in milliseconds: now and then once it has taken long. */
const SOON_MS = 100;
const LATER_MS = 1000;
const MANY_LOOKS = 100;

/**
 * Calls `start` once this process listens on a TCP port. A module that only makes a server is loaded by builds and tools
 * too, and nothing may begin there. Runtimes and processes that do not tell (Bun, the workers of a cluster, Unix sockets)
 * never get the call: there the first request has to do.
 *
 * Keeps no process alive.
 *
 * @returns ends the watch
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
