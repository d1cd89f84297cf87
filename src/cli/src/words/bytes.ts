import { UsageError } from '../errors/errors';

const UNITS = Object.freeze({ B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 });

/**
 * Parses a number of bytes, such as `512KiB`, `100MiB` or `1GiB`.
 *
 * @param where its origin, for the message
 * @throws UsageError
 */
export function toBytes(text: string, where: string): number {
  const [, number = '', unit = ''] = /^(\d{1,9})(B|KiB|MiB|GiB|TiB)$/.exec(text.trim()) ?? [];
  const bytes = Number(number) * UNITS[unit as keyof typeof UNITS];
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new UsageError(`${where} must be a number of bytes with B, KiB, MiB, GiB or TiB, such as 100MiB.`);
}
