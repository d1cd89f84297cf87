// An instance logs the last of a series of refusals ten seconds later, and what ends soon a second after its start. Files share
// processes, so these lines would come in a test of another file, which may look at what is logged there.
import { afterEach } from 'vitest';

const { setTimeout: start } = globalThis;
const late = new Set<NodeJS.Timeout>();

const noting = (...given: Parameters<typeof start>) => {
  const timer = start(...given);
  if (/\/src\/(?:process\/log|machine\/ends\/end-watch)\.ts/.test(new Error().stack ?? '')) late.add(timer);
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
