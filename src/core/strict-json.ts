import { fromUtf8 } from './encoding';

/** A JSON object whose members nobody has checked yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads a JSON object.
 *
 * @param source a text, or its bytes as UTF-8
 * @returns null for any other JSON, and for what is not JSON or not UTF-8
 */
export function parseObject(source: string | Uint8Array): JsonObject | null {
  try {
    const value: unknown = JSON.parse(typeof source === 'string' ? source : fromUtf8(source));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as JsonObject)
      : null;
  } catch {
    return null;
  }
}

/**
 * Reads a JSON object in the one form that `JSON.stringify` writes. If a member were there twice, readers would disagree about its
 * value.
 *
 * @returns null where {@link parseObject} returns it, and for any other form
 */
export function parseExactObject(source: string | Uint8Array): JsonObject | null {
  const object = parseObject(source);
  if (object === null) return null;
  const text = typeof source === 'string' ? source : fromUtf8(source);
  return JSON.stringify(object) === text ? object : null;
}

/** Whether a value is an object with exactly these members. */
export function hasExactly(value: unknown, names: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.keys(value).length === names.length && names.every((name) => Object.hasOwn(value, name));
}
