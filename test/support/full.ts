/** `AMESH_FULL=true`, as CI has it. */
export const isFull = process.env.AMESH_FULL === 'true';

const isSoak = process.env.AMESH_SOAK === 'true';

/**
 * How often something is done that only repeats: less often in `npm test`, and most often in `npm run soak`. What checks
 * distinct cases never asks this.
 */
export function times<T = number>(few: T, full: T, soak = full): T {
  if (isSoak) return soak;
  return isFull ? full : few;
}

/**
 * Of several versions of one thing, in their order: the last one, and all of them where things are repeated as often as in
 * CI. The contract of each version runs everywhere.
 */
export function latest<T>(versions: readonly T[]): readonly T[] {
  return isFull || isSoak ? versions : versions.slice(-1);
}

/**
 * Cases that run everywhere, beside another thing of the same kind for which all of them do: each tenth, and all of them
 * where things are repeated as often as in CI.
 */
export function tenth<T>(cases: readonly T[]): readonly T[] {
  return isFull || isSoak ? cases : cases.filter((_, index) => index % 10 === 0);
}
