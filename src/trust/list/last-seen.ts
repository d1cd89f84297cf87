import { toUtf8 } from '../../core/encoding';
import { isDeviceId } from '../../core/wire/credentials';
import type { DocumentStore } from '../../storage/document-store';
import { Turns } from './turns';

/** Its key in the store of the list. */
export const LAST_SEEN_KEY = 'last_seen.txt';

const ATTEMPTS = 10;

/** Room for twice the devices that a list can have. amesh writes no larger record, so a larger one is discarded unread. */
const MAX_BYTES = 16_777_216;

/** How many lines to process between two checks of the clock. */
const LINES = 500;

/** A line, and a length that no valid line exceeds. */
const LINE = /^(\S+) (\d{1,12})(?: |$)/;
const MAX_LINE = 64;

/** A time in the year 9999. Larger numbers are not times. */
const MAX_SECONDS = 253_370_764_800;

/**
 * When each device last made an accepted request: one line `am_… <Unix seconds>` for each. It is not sealed, since servers
 * without the key write it, too. It is only shown to people and decides nothing, so a damaged or unreadable record counts
 * as empty.
 */
export class LastSeenRecord {
  constructor(
    private readonly store: DocumentStore,
    private readonly key: string,
  ) {}

  /** Unix seconds by device ID. Never throws. */
  async read(): Promise<ReadonlyMap<string, number>> {
    const bytes = await this.store.read(this.key, MAX_BYTES + 1).catch(() => null);
    return parse(isTooLarge(bytes) ? null : bytes, () => true);
  }

  /**
   * Adds times. If a device has two, the later one stays.
   *
   * @param isKnown whether a device is still in the list; other devices are left out
   * @returns the number of devices in the record
   * @throws what the store throws; Error if other writers were faster in every attempt
   */
  async add(times: ReadonlyMap<string, number>, isKnown: (deviceId: string) => boolean): Promise<number> {
    // An eventual store charges for each write, and other instances would overwrite it with stale data.
    if (this.store.isEventual) return 0;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const before = await this.store.read(this.key, MAX_BYTES + 1);
      if (isTooLarge(before) && this.store.discard !== undefined) {
        await this.store.discard(this.key, MAX_BYTES);
        continue;
      }
      const all = await parse(isTooLarge(before) ? null : before, isKnown);
      for (const [deviceId, seconds] of times) {
        if (isKnown(deviceId)) all.set(deviceId, Math.max(seconds, all.get(deviceId) ?? 0));
      }
      const after = await format(all);
      if (await this.store.swap(this.key, before, after)) return all.size;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100 * (attempt + 1)));
    }
    throw new Error('Other writers were faster in every attempt.');
  }
}

function isTooLarge(bytes: Uint8Array | null): boolean {
  return bytes !== null && bytes.length > MAX_BYTES;
}

async function parse(
  bytes: Uint8Array | null,
  isKnown: (deviceId: string) => boolean,
): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  const text = new TextDecoder().decode(bytes ?? new Uint8Array());
  const turns = new Turns();
  for (let from = 0, count = 1; from < text.length; count++) {
    const end = text.indexOf('\n', from);
    const to = end === -1 ? text.length : end;
    const [, deviceId = '', seconds = ''] = LINE.exec(text.slice(from, Math.min(to, from + MAX_LINE))) ?? [];
    if (isDeviceId(deviceId) && Number(seconds) < MAX_SECONDS && isKnown(deviceId)) {
      times.set(deviceId, Number(seconds));
    }
    from = to + 1;
    if (count % LINES === 0 && turns.isOver()) await turns.next();
  }
  return times;
}

async function format(times: ReadonlyMap<string, number>): Promise<Uint8Array> {
  const turns = new Turns();
  let text = '';
  let count = 0;
  for (const [deviceId, seconds] of times) {
    text += `${deviceId} ${seconds}\n`;
    if (++count % LINES === 0 && turns.isOver()) await turns.next();
  }
  return toUtf8(text);
}
