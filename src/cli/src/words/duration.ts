import { UsageError } from '../errors/errors';

const SECONDS = Object.freeze({ s: 1, m: 60, h: 3600, d: 86_400 });

/** The durations that a flag takes, in seconds. */
export interface DurationRange {
  readonly least: number;
  readonly most: number;
}

/** How long a token or a delegation may be valid. Anything shorter than a second would end before its use. */
export const UP_TO_A_DAY: DurationRange = { least: 1, most: SECONDS.d };

/** How long a device may be trusted: up to ten years. */
export const UP_TO_TEN_YEARS: DurationRange = { least: 1, most: 3650 * SECONDS.d };

/**
 * How long a device may be unused. Servers write down when it called once a minute at most, and 10 minutes later for each 100,000
 * devices. Within that time, a device that calls all the time would look unused.
 */
export const UNUSED_RANGE: DurationRange = { least: SECONDS.h, most: UP_TO_TEN_YEARS.most };

/**
 * A flag that takes a duration. Its help and its error name the same range.
 *
 * @param byDefault the default as it would be typed; undefined if the flag has none
 */
export function durationFlag(what: string, range: DurationRange, byDefault?: string) {
  const otherwise = byDefault === undefined ? '' : `default ${byDefault}, `;
  return {
    type: 'string',
    valueHint: 'time',
    description: `${what}; ${otherwise}from ${rangeText(range)}`,
  } as const;
}

/**
 * Parses a duration such as `90s`, `15m`, `1h` or `30d` to seconds.
 *
 * @param where its origin, for the message
 * @throws UsageError
 */
export function toSeconds(text: string, where: string, range: DurationRange): number {
  const [, number = '', unit = ''] = /^(\d{1,8})([smhd])$/.exec(text.trim()) ?? [];
  const seconds = Number(number) * SECONDS[unit as keyof typeof SECONDS];
  if (seconds >= range.least && seconds <= range.most) return seconds;
  throw new UsageError(`${where} must be a duration from ${rangeText(range)}.`, {
    hint: `Use a whole number and s, m, h or d, such as ${range.most < 7 * SECONDS.d ? '90s, 15m or 1h' : '15m, 1h or 7d'}.`,
  });
}

/** A duration in the largest unit that is exact, except that one day is 24h. */
export function durationText(seconds: number): string {
  const units = Object.entries(SECONDS).reverse();
  const [unit, size] = units.find(([unit, size]) => {
    const isOneDay = unit === 'd' && seconds === size;
    return seconds % size === 0 && !isOneDay;
  }) as [string, number];
  return `${seconds / size}${unit}`;
}

function rangeText({ least, most }: DurationRange): string {
  return `${durationText(least)} to ${durationText(most)}`;
}

/** A moment for people, to the minute, in UTC. */
export function momentText(unixSeconds: number): string {
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}
