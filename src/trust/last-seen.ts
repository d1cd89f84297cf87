import { isDeviceId } from '../core/credentials';
import { toUtf8 } from '../core/encoding';
import type { DocumentStore } from './document-store';
import { Turns } from './turns';

/** The name under which it lies beside the list. */
export const LAST_SEEN_KEY = 'last_seen.txt';

const ATTEMPTS = 10;

/** Lines between two looks at the clock. */
const LINES = 500;

/** Some time in the year 9999: what is beyond it is no time. */
const MAX_SECONDS = 253_370_764_800;

/**
 * When each device was last let in: a line `am_… <Unix seconds>` for each. Not sealed, since a server without the key
 * writes it too. It is told to people and decides nothing, so what is damaged or cannot be read is as if it were not
 * there.
 */
export class LastSeenRecord {
  constructor(
    private readonly store: DocumentStore,
    private readonly key: string,
  ) {}

  /** Unix seconds by deviceId. Never throws. */
  async read(): Promise<ReadonlyMap<string, number>> {
    return parse(await this.store.read(this.key).catch(() => null));
  }

  /**
   * Adds times; of two for one device the later stays.
   *
   * @param isKnown whether a device is still in the list; others are left out
   * @returns how many devices the record has
   * @throws what the store throws; Error where others were faster again and again
   */
  async add(times: ReadonlyMap<string, number>, isKnown: (deviceId: string) => boolean): Promise<number> {
    // Such a store counts each write, and another instance would overwrite it with what it still reads.
    if (this.store.isEventual) return 0;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const before = await this.store.read(this.key);
      const all = await parse(before);
      for (const [deviceId, seconds] of times) {
        all.set(deviceId, Math.max(seconds, all.get(deviceId) ?? 0));
      }
      const after = await format(all, isKnown);
      if (await this.store.swap(this.key, before, after)) return all.size;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100 * (attempt + 1)));
    }
    throw new Error('Others were faster each time.');
  }
}

async function parse(bytes: Uint8Array | null): Promise<Map<string, number>> {
  const times = new Map<string, number>();
  const lines = new TextDecoder().decode(bytes ?? new Uint8Array()).split('\n');
  const turns = new Turns();
  for (const [i, line] of lines.entries()) {
    const [deviceId = '', seconds = ''] = line.split(' ');
    if (isDeviceId(deviceId) && /^\d{1,12}$/.test(seconds) && Number(seconds) < MAX_SECONDS) {
      times.set(deviceId, Number(seconds));
    }
    if (i % LINES === 0 && turns.isOver()) await turns.next();
  }
  return times;
}

async function format(
  times: ReadonlyMap<string, number>,
  isKnown: (deviceId: string) => boolean,
): Promise<Uint8Array> {
  const turns = new Turns();
  let text = '';
  let count = 0;
  for (const [deviceId, seconds] of times) {
    if (isKnown(deviceId)) text += `${deviceId} ${seconds}\n`;
    if (++count % LINES === 0 && turns.isOver()) await turns.next();
  }
  return toUtf8(text);
}
