/** A moment for logs: ISO 8601 in UTC; `?` for an invalid number. */
export function momentText(unixMs: number): string {
  const date = new Date(unixMs);
  return Number.isNaN(date.getTime()) ? '?' : date.toISOString();
}
