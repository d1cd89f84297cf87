import { UsageError } from '../errors/errors';

const SECONDS = Object.freeze({ s: 1, m: 60, h: 3600, d: 86_400 });

/**
 * Seconds out of `90s`, `15m`, `1h` or `30d`.
 *
 * @param where it stands, for the message
 * @throws UsageError
 */
export function toSeconds(text: string, where: string, least: number, most: number): number {
  const [, number = '', unit = ''] = /^(\d{1,8})([smhd])$/.exec(text.trim()) ?? [];
  const seconds = Number(number) * SECONDS[unit as keyof typeof SECONDS];
  if (seconds >= least && seconds <= most) return seconds;
  throw new UsageError(`${where} is a time from ${durationText(least)} to ${durationText(most)}.`, {
    hint: most < 7 * SECONDS.d ? 'Such as 90s, 15m or 1h.' : 'Such as 15m, 1h or 7d.',
  });
}

/** In the largest unit that says it exactly. */
export function durationText(seconds: number): string {
  const units = Object.entries(SECONDS).reverse();
  const [unit, size] = units.find(([, size]) => seconds % size === 0) as [string, number];
  return `${seconds / size}${unit}`;
}

/** A moment as people read it, to the minute, in UTC. */
export function momentText(unixSeconds: number): string {
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
