import type { AllowListSource } from '../../core/devices/allow-list';
import { readEntry } from '../../trust/format/entry';
import { textsOf } from '../../trust/format/page';
import { PagedList } from '../../trust/format/paged-list';
import { dueWarning, type Ending, endingOf, WARNING_DAYS } from '../../trust/rights/ends';
import { type Days, type Due, describeEnds, MAX_NAMED } from './end-warning';

/** The delay of the first pass: a server that has just begun to listen has more urgent work. */
const FIRST_MS = 1000;
const EVERY_MS = 3_600_000;
/** The pause after a pass for which there was no list. */
const RETRY_MS = 60_000;
/** A pass works in slices with pauses, so that no request waits for the whole of a long list. */
const SLICE_MS = 5;
const PAUSE_MS = 20;
const LINES_BETWEEN_LOOKS = 64;

/** The work since the last pause. */
interface Slice {
  startedAt: number;
  /** How many lines were read since the pass began. */
  lines: number;
}

export interface EndWatchOptions {
  readonly list: AllowListSource;
  /** Logs a line. */
  readonly tell: (line: string) => void;
  /** Gives the warnings about things that are not in the list; called for each pass. */
  readonly other?: (() => void) | undefined;
  /** Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
  /** Lets requests run between two slices; default: a pause of 20 ms. */
  readonly pause?: (() => Promise<void>) | undefined;
}

/**
 * Warns in the log of a server 14, 7 and 1 days before devices and leases end, whether or not the devices call. It looks through
 * the list when the server starts, and once an hour. It remembers no devices: each pass gives the warnings that have become due
 * since the last pass, so a process gives each warning once.
 */
export class EndWatch {
  readonly #list: AllowListSource;
  readonly #tell: (line: string) => void;
  readonly #other: () => void;
  readonly #now: () => number;
  readonly #pause: () => Promise<void>;
  #isStarted = false;
  /** When the last pass was, Unix seconds. */
  #since = Number.NEGATIVE_INFINITY;
  /** The same for pages that could not be read then, by their prefixes. */
  #sinceOf: ReadonlyMap<string, number> = new Map();

  constructor({ list, tell, other = () => {}, now = Date.now, pause = waitBriefly }: EndWatchOptions) {
    this.#list = list;
    this.#tell = tell;
    this.#other = other;
    this.#now = now;
    this.#pause = pause;
  }

  /** Starts the passes, once. They do not keep the process alive. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#lookIn(FIRST_MS);
  }

  /**
   * Looks through the list once, and warns.
   *
   * @throws what the list throws; nothing was checked then
   */
  async look(): Promise<void> {
    this.#other();
    const list = await this.#list.current();
    if (!(list instanceof PagedList)) return;
    const nowSeconds = Math.floor(this.#now() / 1000);
    const due = new Map<string, Due>();
    const note = (ending: Ending | null, since: number) => {
      const days = ending && dueWarning(ending, nowSeconds, since);
      if (days) add(due, days, ending);
    };
    const missed = new Map<string, number>();
    const slice: Slice = { startedAt: performance.now(), lines: 0 };
    for (const { prefix, content } of list.pages) {
      const since = this.#sinceFor(prefix);
      if ('error' in content) missed.set(prefix, since);
      else for await (const line of this.#slices(content.bytes, slice)) note(endingOfLine(line, list), since);
    }
    this.#since = nowSeconds;
    this.#sinceOf = missed;
    for (const days of WARNING_DAYS)
      for (const kind of ['device', 'lease'] as const) {
        const found = due.get(`${kind} ${days}`);
        if (found !== undefined) this.#tell(describeEnds(kind, days, found));
      }
  }

  /** A page that could not be read may have been split or joined since. */
  #sinceFor(prefix: string): number {
    const missed = [...this.#sinceOf].filter(
      ([other]) => other.startsWith(prefix) || prefix.startsWith(other),
    );
    return Math.min(this.#since, ...missed.map(([, since]) => since));
  }

  /** @param slice shared by all pages, since a single page takes less time than a slice */
  async *#slices(bytes: Uint8Array, slice: Slice): AsyncGenerator<string> {
    for (const { line } of textsOf(bytes)) {
      if (line.includes('"expiresAt":')) yield line;
      if (++slice.lines % LINES_BETWEEN_LOOKS > 0 || performance.now() - slice.startedAt < SLICE_MS) continue;
      await this.#pause();
      slice.startedAt = performance.now();
    }
  }

  #lookIn(ms: number): void {
    setTimeout(() => {
      this.look().then(
        () => this.#lookIn(EVERY_MS),
        () => this.#lookIn(RETRY_MS), // a request reports why there is no list
      );
    }, ms).unref?.();
  }
}

function endingOfLine(line: string, { head }: PagedList): Ending | null {
  try {
    const entry = readEntry(JSON.parse(line));
    return entry?.kind === 'device' ? endingOf(entry.device, head) : null;
  } catch {
    return null; // requests of that device report it
  }
}

function add(due: Map<string, Due>, days: Days, ending: Ending): void {
  const key = `${ending.kind} ${days}`;
  const found = due.get(key) ?? { count: 0, named: [] };
  due.set(key, found);
  found.count++;
  if (found.named.length < MAX_NAMED) found.named.push(ending);
}

function waitBriefly(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, PAUSE_MS).unref?.();
  });
}
