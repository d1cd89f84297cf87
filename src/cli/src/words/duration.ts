import { UsageError } from '../errors/errors';

const SECONDS = Object.freeze({ s: 1, m: 60, h: 3600, d: 86_400 });

/** The longest time that a device can be given or unused: ten years. */
export const MAX_SECONDS = 3650 * 86_400;

/**
 * Parses a duration such as `90s`, `15m`, `1h` or `30d` to seconds.
 *
 * @param where its origin, for the message
 * @throws UsageError
 */
export function toSeconds(text: string, where: string, least: number, most: number): number {
  const [, number = '', unit = ''] = /^(\d{1,8})([smhd])$/.exec(text.trim()) ?? [];
  const seconds = Number(number) * SECONDS[unit as keyof typeof SECONDS];
  if (seconds >= least && seconds <= most) return seconds;
  throw new UsageError(`${where} must be a duration from ${durationText(least)} to ${durationText(most)}.`, {
    hint: most < 7 * SECONDS.d ? 'For example 90s, 15m or 1h.' : 'For example 15m, 1h or 7d.',
  });
}

/** In the largest unit that is exact. */
export function durationText(seconds: number): string {
  const units = Object.entries(SECONDS).reverse();
  const [unit, size] = units.find(([, size]) => seconds % size === 0) as [string, number];
  return `${seconds / size}${unit}`;
}

/** A moment for people, to the minute, in UTC. */
export function momentText(unixSeconds: number): string {
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
