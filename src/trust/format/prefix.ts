/** Bits in a device ID: 16 characters of base64url, 6 bits each. */
export const ID_BITS = 96;

const ID_START = 'am_'.length;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** By the code of a character of base64url, its six bits as text. */
const SEXTETS: (string | undefined)[] = [];
for (let i = 0; i < ALPHABET.length; i++) SEXTETS[ALPHABET.charCodeAt(i)] = i.toString(2).padStart(6, '0');

/** The six bits of a character of base64url, as text; undefined for another character. */
export function sextetOf(code: number): string | undefined {
  return SEXTETS[code];
}

/**
 * The bits of a device ID as text: 96 characters, `0` or `1`.
 *
 * @param deviceId `am_` and 16 characters of base64url; anything else gives bits that belong to nobody
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
 * @param bits those of the ID, see {@link bitsOf}
 */
export function findPrefix(prefixes: readonly string[], bits: string): number {
  // No prefix is the beginning of another, so it is the last one that does not sort behind the bits.
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

/** The bits at which the next prefix begins; null where this one goes to the last ID. */
function after(prefix: string): string | null {
  const zero = prefix.lastIndexOf('0');
  return zero === -1 ? null : `${prefix.slice(0, zero)}1`;
}
