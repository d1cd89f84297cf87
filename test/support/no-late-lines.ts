// An instance logs the last of a series of refusals ten seconds later. Files share processes, so that line would come in a test of
// another file, which may look at what is logged there.
import { afterEach } from 'vitest';

const { setTimeout: start } = globalThis;
const late = new Set<NodeJS.Timeout>();

const noting = (...given: Parameters<typeof start>) => {
  const timer = start(...given);
  if (new Error().stack?.includes('/src/process/log.ts')) late.add(timer);
  return timer;
};
globalThis.setTimeout = Object.defineProperties(
  noting,
  Object.getOwnPropertyDescriptors(start),
) as typeof start;

afterEach(() => {
  for (const timer of late) clearTimeout(timer);
  late.clear();
});
