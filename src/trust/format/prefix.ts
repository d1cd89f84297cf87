/** Bits in a device ID: 16 characters of base64url, 6 bits each. */
export const ID_BITS = 96;

const ID_START = 'am_'.length;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** The six bits of each base64url character as text, by its code. */
const SEXTETS: (string | undefined)[] = [];
for (let i = 0; i < ALPHABET.length; i++) SEXTETS[ALPHABET.charCodeAt(i)] = i.toString(2).padStart(6, '0');

/** The six bits of a base64url character as text; undefined for another character. */
export function sextetOf(code: number): string | undefined {
  return SEXTETS[code];
}

/**
 * The bits of a device ID as text: 96 characters, `0` or `1`.
 *
 * @param deviceId `am_` and 16 characters of base64url; anything else gives the bits of no device
 */
export function bitsOf(deviceId: string): string {
  let bits = '';
  for (let at = ID_START; at < deviceId.length; at++) bits += sextetOf(deviceId.charCodeAt(at)) ?? '';
  return bits;
}

/**
 * Whether prefixes cover each ID exactly once: a complete prefix code, in order.
 *
 * @param prefixes bits as text; the empty prefix covers everything
 */
export function isCover(prefixes: readonly string[]): boolean {
  let start: string | null = ''; // where the next prefix has to begin; null after the last ID
  for (const prefix of prefixes) {
    if (start === null || !isPrefix(prefix) || !beginsAt(prefix, start)) return false;
    start = after(prefix);
  }
  return prefixes.length > 0 && start === null;
}

/**
 * The position of the prefix that covers an ID.
 *
 * @param prefixes a cover, see {@link isCover}
 * @param bits of the ID, see {@link bitsOf}
 */
export function findPrefix(prefixes: readonly string[], bits: string): number {
  // No prefix begins with another one, so the last one that does not sort after the bits is the match.
  let [low, high] = [0, prefixes.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((prefixes[middle] as string) <= bits) low = middle;
    else high = middle - 1;
  }
  return low;
}

function isPrefix(prefix: unknown): boolean {
  return typeof prefix === 'string' && prefix.length <= ID_BITS && /^[01]*$/.test(prefix);
}

/** Whether the first ID of a prefix is the first ID of `start`. */
function beginsAt(prefix: string, start: string): boolean {
  const common = Math.min(prefix.length, start.length);
  if (prefix.slice(0, common) !== start.slice(0, common)) return false;
  return !prefix.slice(common).includes('1') && !start.slice(common).includes('1');
}

/** The bits at which the next prefix begins; null if this one covers the last ID. */
function after(prefix: string): string | null {
  const zero = prefix.lastIndexOf('0');
  return zero === -1 ? null : `${prefix.slice(0, zero)}1`;
}
