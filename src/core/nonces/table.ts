/**
 * A set of nonces, each with the number of its device, in typed arrays: 20 bytes per entry, no garbage. It consists of
 * many small tables that grow one at a time, so that growing never blocks the process for long.
 */
export class NonceTable {
  readonly #tables: (Uint32Array | undefined)[] = new Array(TABLES);
  readonly #counts = new Uint32Array(TABLES);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Whether the set contains the entry. */
  has(entry: Uint32Array): boolean {
    const h = hash(entry);
    const table = this.#tables[h >>> 24];
    return table !== undefined && table[find(table, entry, h) + 4] !== 0;
  }

  /** Adds an entry. Returns false if the set contains it already. */
  add(entry: Uint32Array): boolean {
    const h = hash(entry);
    const index = h >>> 24;
    let table = this.#tables[index] ?? new Uint32Array(MIN_SLOTS * WORDS);
    let at = find(table, entry, h);
    if (table[at + 4] !== 0) return false;
    const count = (this.#counts[index] as number) + 1;
    if (count * WORDS > table.length * MAX_LOAD) {
      table = grow(table);
      at = find(table, entry, h);
    }
    for (let i = 0; i < WORDS; i++) table[at + i] = entry[i] as number;
    this.#tables[index] = table;
    this.#counts[index] = count;
    this.#size++;
    return true;
  }
}

const TABLES = 256;
const WORDS = 5;
const MIN_SLOTS = 4;
const MAX_LOAD = 0.75;

/** The largest device number that fits into an entry together with its nonce. Numbers start at 1. */
export const MAX_DEVICE_NUMBER = 2 ** 20 - 1;

/** The values of the base64url characters, by character code. */
const VALUES = new Uint8Array(128);
for (const [value, character] of [
  ...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
].entries()) {
  VALUES[character.charCodeAt(0)] = value;
}

/**
 * Packs a nonce of 22 base64url characters and a device number into the 5 words of an entry. The last word contains the
 * number, so it is never zero: zero marks an empty slot.
 */
export function packEntry(entry: Uint32Array, nonce: string, deviceNumber: number): void {
  let at = 0;
  for (let word = 0; word < 4; word++) {
    let bits = 0;
    for (let i = 0; i < 5; i++) bits = (bits << 6) | (VALUES[nonce.charCodeAt(at++)] as number);
    entry[word] = bits;
  }
  const rest = ((VALUES[nonce.charCodeAt(20)] as number) << 6) | (VALUES[nonce.charCodeAt(21)] as number);
  entry[4] = (rest << 20) | deviceNumber;
}

// Nonces are random, but a paired device chooses its own. The seed keeps it from filling one table. It is drawn with the
// first nonce, since Workers have no random bytes while modules load.
let seed: readonly [number, number] | undefined;

function hash(entry: Uint32Array): number {
  seed ??= crypto.getRandomValues(new Uint32Array(2)) as unknown as readonly [number, number];
  let h = seed[0];
  for (let i = 0; i < WORDS; i++) {
    h = Math.imul(h ^ (entry[i] as number), 0x85ebca6b);
    h ^= h >>> 15;
  }
  return Math.imul(h ^ seed[1], 0xc2b2ae35);
}

/** The position of an entry with the hash `h` in a table, or of the empty slot for it. */
function find(table: Uint32Array, entry: Uint32Array, h: number): number {
  const slots = table.length / WORDS;
  for (let slot = h & (slots - 1); ; slot = (slot + 1) & (slots - 1)) {
    const at = slot * WORDS;
    if (table[at + 4] === 0) return at;
    if (
      table[at] === entry[0] &&
      table[at + 1] === entry[1] &&
      table[at + 2] === entry[2] &&
      table[at + 3] === entry[3] &&
      table[at + 4] === entry[4]
    ) {
      return at;
    }
  }
}

function grow(table: Uint32Array): Uint32Array {
  const larger = new Uint32Array(table.length * 2);
  for (let at = 0; at < table.length; at += WORDS) {
    if (table[at + 4] === 0) continue;
    const entry = table.subarray(at, at + WORDS);
    larger.set(entry, find(larger, entry, hash(entry)));
  }
  return larger;
}
