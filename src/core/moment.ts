/** A moment as it stands in logs: ISO 8601 in UTC; `?` for a number that is no moment. */
export function momentText(unixMs: number): string {
  const date = new Date(unixMs);
  return Number.isNaN(date.getTime()) ? '?' : date.toISOString();
}
