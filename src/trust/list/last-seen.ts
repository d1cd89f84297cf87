import { toUtf8 } from '../../core/encoding';
import { isDeviceId } from '../../core/wire/credentials';
import type { DocumentStore } from '../../storage/document-store';
import type { PagedList } from '../format/paged-list';
import { bitsOf, findPrefix } from '../format/prefix';

const ATTEMPTS = 10;

/**
 * Enough for twice the devices of a page. amesh never writes a larger record, so it does not read such a record, and replaces it.
 */
const MAX_BYTES = 1_048_576;

/** How many records are read at once. */
const BATCH = 16;

/** Records that are being read or were read, by the prefix of their page. */
type Records = Map<string, Promise<Uint8Array | null>>;

/** A line, and a length that no valid line exceeds. */
const LINE = /^(\S+) (\d{1,12})(?: |$)/;
const MAX_LINE = 64;

/** A time in the year 9999. Larger numbers are not times. */
const MAX_SECONDS = 253_370_764_800;

/**
 * When each device last made an accepted request: a line `am_… <Unix seconds>` for each device, in one record for each page
 * of the list, so that a change writes one page's record. It is not sealed, because servers without the key write it, too.
 * People read it, and no check uses it, so a damaged or unreadable record is treated as missing.
 */
export class LastSeenRecord {
  readonly #store: DocumentStore;
  readonly #keyOf: (prefix: string) => string;

  /** @param keyOf the key of the record for a page, by the prefix of the page */
  constructor(store: DocumentStore, keyOf: (prefix: string) => string) {
    this.#store = store;
    this.#keyOf = keyOf;
  }

  /** Unix seconds by deviceId, for the devices of a list. Never throws. */
  async read(list: PagedList): Promise<ReadonlyMap<string, number>> {
    const all = new Map<string, number>();
    const known: Records = new Map(); // the halves of a split page share its record
    const { pages } = list.head;
    for (let from = 0; from < pages.length; from += BATCH) {
      const reading = pages.slice(from, from + BATCH).map(async ({ prefix }) => {
        const bytes = await this.#nearest(prefix, known).catch(() => null);
        for (const [deviceId, seconds] of parse(bytes, prefix)) all.set(deviceId, seconds);
      });
      await Promise.all(reading);
    }
    return all;
  }

  /**
   * Since when the record of a device's page has been kept: before that, nobody knows whether the device called. Null if there is
   * no record, or it does not say that. Never throws.
   */
  async keptSince(list: PagedList): Promise<(deviceId: string) => number | null> {
    const known: Records = new Map();
    const since = new Map<string, number | null>();
    const prefixes = list.head.pages.map(({ prefix }) => prefix);
    for (let from = 0; from < prefixes.length; from += BATCH) {
      const reading = prefixes.slice(from, from + BATCH).map(async (prefix) => {
        since.set(prefix, sinceOf(await this.#nearest(prefix, known).catch(() => null)));
      });
      await Promise.all(reading);
    }
    return (deviceId) => since.get(prefixes[findPrefix(prefixes, bitsOf(deviceId))] as string) ?? null;
  }

  /**
   * Adds times. If a device has a time already, the later one stays.
   *
   * @param list devices that are not in it are left out
   * @returns how many devices the written records have
   * @throws what the store throws; Error if other writers were faster in every attempt
   */
  async add(times: ReadonlyMap<string, number>, list: PagedList): Promise<number> {
    // An eventual store limits the number of writes, and an instance that still reads older bytes would overwrite this record.
    if (this.#store.isEventual) return 0;
    const prefixes = list.head.pages.map(({ prefix }) => prefix);
    const byPage = new Map<string, [string, number][]>();
    for (const [deviceId, seconds] of times) {
      const prefix = prefixes[findPrefix(prefixes, bitsOf(deviceId))] as string;
      byPage.set(prefix, [...(byPage.get(prefix) ?? []), [deviceId, seconds]]);
    }
    let devices = 0;
    for (const [prefix, page] of byPage) devices += await this.#addTo(prefix, page, list);
    return devices;
  }

  async #addTo(prefix: string, times: readonly [string, number][], list: PagedList): Promise<number> {
    const key = this.#keyOf(prefix);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const before = await this.#store.read(key, MAX_BYTES + 1);
      if (isTooLarge(before) && this.#store.discard !== undefined) {
        await this.#store.discard(key, MAX_BYTES);
        continue;
      }
      const record = before ?? (await this.#nearest(prefix));
      const all = parse(record, prefix);
      const since = sinceOf(record) ?? Math.floor(Date.now() / 1000);
      for (const [deviceId, seconds] of times) all.set(deviceId, Math.max(seconds, all.get(deviceId) ?? 0));
      for (const deviceId of all.keys()) if (!isListed(list, deviceId)) all.delete(deviceId);
      if (await this.#store.swap(key, before, format(all, since))) return all.size;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100 * (attempt + 1)));
    }
    throw new Error('Other writers were faster in every attempt.');
  }

  /** The record of a page; if there is none, the record of the page from which it was split. */
  async #nearest(prefix: string, known: Records = new Map()): Promise<Uint8Array | null> {
    const found = known.get(prefix) ?? this.#store.read(this.#keyOf(prefix), MAX_BYTES + 1);
    known.set(prefix, found);
    const bytes = await found;
    return bytes === null && prefix !== '' ? this.#nearest(prefix.slice(0, -1), known) : bytes;
  }
}

function isTooLarge(bytes: Uint8Array | null): boolean {
  return bytes !== null && bytes.length > MAX_BYTES;
}

function isListed(list: PagedList, deviceId: string): boolean {
  try {
    return list.find(deviceId) !== undefined;
  } catch {
    return true; // its page is missing or damaged at the moment
  }
}

function parse(bytes: Uint8Array | null, prefix: string): Map<string, number> {
  const times = new Map<string, number>();
  if (bytes === null || isTooLarge(bytes)) return times;
  for (const line of new TextDecoder().decode(bytes).split('\n')) {
    const [, deviceId = '', seconds = ''] = LINE.exec(line.slice(0, MAX_LINE)) ?? [];
    if (!isDeviceId(deviceId) || !bitsOf(deviceId).startsWith(prefix)) continue;
    if (Number(seconds) < MAX_SECONDS) times.set(deviceId, Number(seconds));
  }
  return times;
}

/** Reads the first line of a record: `since <Unix seconds>`, the time since which it was not lost. Null without such a line. */
function sinceOf(bytes: Uint8Array | null): number | null {
  if (bytes === null || isTooLarge(bytes)) return null;
  const [, seconds] = /^since (\d{1,12})\n/.exec(new TextDecoder().decode(bytes.subarray(0, MAX_LINE))) ?? [];
  return seconds === undefined ? null : Number(seconds);
}

function format(times: ReadonlyMap<string, number>, since: number): Uint8Array {
  const lines = [...times].map(([deviceId, seconds]) => `${deviceId} ${seconds}\n`);
  return toUtf8(`since ${since}\n${lines.join('')}`);
}
