/** `AMESH_FULL=true`, as CI has it. */
export const isFull = process.env.AMESH_FULL === 'true';

const isSoak = process.env.AMESH_SOAK === 'true';

/**
 * How often something is done that only repeats: less often in `npm test`, and most often in `npm run soak`. What checks
 * distinct cases never asks this.
 */
export function times(few: number, full: number, soak = full): number {
  if (isSoak) return soak;
  return isFull ? full : few;
}
