import type { Shared } from '../limits/fair-share';
import type { RoomEvent } from '../room/effects';
import type { Room } from '../room/room';

/** Counts what happens, for Prometheus. Its labels come from fixed lists, so it does not grow. */
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

  /**
   * In the text format 0.0.4 of Prometheus.
   *
   * @param counts what the room holds
   * @param shares by name; those without bytes have a limit of 0 for them
   * @param hasRedis whether Redis is there; undefined where none is used
   */
  toText(
    { counts }: Pick<Room<unknown>, 'counts'>,
    shares: Readonly<Record<string, Shared>>,
    hasRedis?: boolean,
  ): string {
    const { clients, listening, paired, boxes, deadlines, rememberedAddresses } = counts;
    const { user, system } = process.cpuUsage();
    const lines: string[] = [];
    const add = (name: string, type: string, help: string, values: Iterable<[string, number]>) => {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [labels, value] of values) lines.push(`${name}${labels && `{${labels}}`} ${value}`);
    };
    add('amesh_relay_sockets', 'gauge', 'Open sockets.', [['', clients]]);
    add('amesh_relay_sessions', 'gauge', 'Codes that wait, sessions and mailboxes.', [
      ['state="listening"', listening],
      ['state="paired"', paired],
      ['state="mailbox"', boxes],
    ]);
    const ofShares = (value: (share: Shared) => number, all = Object.entries(shares)) =>
      all.map(([name, share]): [string, number] => [`share="${name}"`, value(share)]);
    const withBytes = Object.entries(shares).filter(([, { limits }]) => limits.bytes > 0);
    const places = 'amesh_relay_share_places';
    add(
      places,
      'gauge',
      'Places that are taken.',
      ofShares(({ size }) => size),
    );
    add(
      `${places}_limit`,
      'gauge',
      'Places that there are.',
      ofShares(({ limits }) => limits.places),
    );
    const bytes = 'amesh_relay_share_bytes';
    add(
      bytes,
      'gauge',
      'Bytes that are held.',
      ofShares((share) => share.bytes, withBytes),
    );
    add(
      `${bytes}_limit`,
      'gauge',
      'Bytes that may be held.',
      ofShares(({ limits }) => limits.bytes, withBytes),
    );
    const evicted = 'amesh_relay_share_evicted_total';
    add(
      evicted,
      'counter',
      'What gave way to somebody who held less.',
      ofShares((share) => share.evicted),
    );
    add('amesh_relay_deadlines', 'gauge', 'What a deadline is watched for.', [['', deadlines]]);
    add('amesh_relay_remembered_addresses', 'gauge', 'Addresses that limits are counted for.', [
      ['', rememberedAddresses],
    ]);
    add('amesh_relay_events_total', 'counter', 'What happened, and how it came out.', this.#events);
    add(
      'amesh_relay_cut_sockets_total',
      'counter',
      'Sockets cut because they did not read, finish or close.',
      [['', this.#cutSockets]],
    );
    add('amesh_relay_refused_upgrades_total', 'counter', 'Upgrades refused before there was a socket.', [
      ['', this.#refusedUpgrades],
    ]);
    if (hasRedis !== undefined) {
      add('amesh_relay_redis_up', 'gauge', 'Whether Redis is there.', [['', Number(hasRedis)]]);
    }
    add('process_cpu_seconds_total', 'counter', 'User and system time of the process.', [
      ['', (user + system) / 1e6],
    ]);
    add('process_resident_memory_bytes', 'gauge', 'Memory of the process.', [
      ['', process.memoryUsage.rss()],
    ]);
    return `${lines.join('\n')}\n`;
  }
}
