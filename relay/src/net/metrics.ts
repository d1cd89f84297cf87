import type { ShareUsage } from '../limits/fair-share';
import type { RoomEvent } from '../room/effects';
import type { Room } from '../room/room';

/** A metric: its type, its help, and its values by labels. */
interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly values: Iterable<readonly [labels: string, value: number]>;
}

/** The sources of metrics, in addition to the counted events. */
export interface MetricsSource {
  readonly counts: Room<unknown>['counts'];
  /** The shares by name. A share that does not count bytes has a byte limit of 0. */
  readonly shares: Readonly<Record<string, ShareUsage>>;
  /** Whether Redis is connected; undefined if none is used. */
  readonly hasRedis: boolean | undefined;
}

/** Counts events for Prometheus. All labels come from fixed lists, so strangers cannot make it grow. */
export class Metrics {
  readonly #events = new Map<string, number>();
  #cutSockets = 0;
  #refusedUpgrades = 0;

  count({ event, outcome }: RoomEvent): void {
    const labels = `event="${event}",outcome="${outcome}"`;
    this.#events.set(labels, (this.#events.get(labels) ?? 0) + 1);
  }

  countCutSocket(): void {
    this.#cutSockets++;
  }

  countRefusedUpgrade(): void {
    this.#refusedUpgrades++;
  }

  /** In the text format 0.0.4 of Prometheus. */
  toText({ counts, shares, hasRedis }: MetricsSource): string {
    const metrics = [
      ...roomMetrics(counts),
      ...shareMetrics(Object.entries(shares)),
      ...limitMetrics(counts),
      ...this.#eventMetrics(),
      ...redisMetrics(hasRedis),
      ...processMetrics(),
    ];
    return `${metrics.flatMap(linesOf).join('\n')}\n`;
  }

  #eventMetrics(): Metric[] {
    return [
      counter('amesh_relay_events_total', 'Events, by their outcome.', this.#events),
      counter(
        'amesh_relay_cut_sockets_total',
        'Sockets cut because their clients did not read, finish or close.',
        single(this.#cutSockets),
      ),
      counter(
        'amesh_relay_refused_upgrades_total',
        'Upgrades refused before there was a socket.',
        single(this.#refusedUpgrades),
      ),
    ];
  }
}

function roomMetrics({ clients, listening, paired, mailboxes }: MetricsSource['counts']): Metric[] {
  return [
    gauge('amesh_relay_sockets', 'Open sockets.', single(clients)),
    gauge('amesh_relay_sessions', 'Codes that wait, sessions and mailboxes.', [
      ['state="listening"', listening],
      ['state="paired"', paired],
      ['state="mailbox"', mailboxes],
    ]),
  ];
}

function shareMetrics(shares: readonly (readonly [string, ShareUsage])[]): Metric[] {
  const withBytes = shares.filter(([, { limits }]) => limits.bytes > 0);
  const valuesOf = (of: typeof shares, value: (share: ShareUsage) => number) =>
    of.map(([name, share]) => [`share="${name}"`, value(share)] as const);
  const [places, bytes] = ['amesh_relay_share_places', 'amesh_relay_share_bytes'];
  return [
    gauge(
      places,
      'Places that are taken.',
      valuesOf(shares, ({ size }) => size),
    ),
    gauge(
      `${places}_limit`,
      'Places in all.',
      valuesOf(shares, ({ limits }) => limits.places),
    ),
    gauge(
      bytes,
      'Bytes that are held.',
      valuesOf(withBytes, (share) => share.bytes),
    ),
    gauge(
      `${bytes}_limit`,
      'Bytes that may be held.',
      valuesOf(withBytes, ({ limits }) => limits.bytes),
    ),
    counter(
      'amesh_relay_share_evicted_total',
      'Places given to a client that held less.',
      valuesOf(shares, ({ evicted }) => evicted),
    ),
  ];
}

function limitMetrics({ deadlines, rememberedAddresses }: MetricsSource['counts']): Metric[] {
  return [
    gauge('amesh_relay_deadlines', 'Deadlines that are watched.', single(deadlines)),
    gauge(
      'amesh_relay_remembered_addresses',
      'Addresses and networks that rate limits remember.',
      single(rememberedAddresses),
    ),
  ];
}

function redisMetrics(hasRedis: boolean | undefined): Metric[] {
  if (hasRedis === undefined) return [];
  return [gauge('amesh_relay_redis_up', 'Whether Redis is connected.', single(Number(hasRedis)))];
}

function processMetrics(): Metric[] {
  const { user, system } = process.cpuUsage();
  return [
    counter(
      'process_cpu_seconds_total',
      'User and system time of the process.',
      single((user + system) / 1e6),
    ),
    gauge('process_resident_memory_bytes', 'Memory of the process.', single(process.memoryUsage.rss())),
  ];
}

function gauge(name: string, help: string, values: Metric['values']): Metric {
  return { name, type: 'gauge', help, values };
}

function counter(name: string, help: string, values: Metric['values']): Metric {
  return { name, type: 'counter', help, values };
}

function single(value: number): Metric['values'] {
  return [['', value]];
}

function linesOf({ name, type, help, values }: Metric): string[] {
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
  for (const [labels, value] of values) lines.push(`${name}${labels && `{${labels}}`} ${value}`);
  return lines;
}
