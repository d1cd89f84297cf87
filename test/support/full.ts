/** `AMESH_FULL=true`, as CI has it. */
export const isFull = process.env.AMESH_FULL === 'true';

/** How often something is done that only repeats: less often in `npm test`. What checks distinct cases never asks this. */
export function times(few: number, full: number): number {
  return isFull ? full : few;
}
