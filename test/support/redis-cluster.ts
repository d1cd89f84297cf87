import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { freePort } from './free-port';
import { type RedisServer, startRedis } from './redis';

const SLOTS = 16_384;

/** Three masters on loopback and, where wanted, a replica of the first. */
export interface RedisCluster {
  readonly masters: readonly RedisServer[];
  readonly replica: RedisServer | undefined;
  /** Moves slots of one master, with their keys, as an administrator does. */
  moveSlots(from: RedisServer, to: RedisServer, count: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedisCluster({ replica = false } = {}): Promise<RedisCluster> {
  const servers: RedisServer[] = [];
  for (let i = 0; i < (replica ? 4 : 3); i++) servers.push(await startNode());
  const admins = servers.map(({ port }) => new Redis(port, '127.0.0.1'));
  const [first, ...others] = admins as [Redis, ...Redis[]];
  await Promise.all(
    admins.slice(0, 3).map((admin, i) => {
      const [from, to] = [i, i + 1].map((n) => Math.floor((n * SLOTS) / 3)) as [number, number];
      return admin.call('CLUSTER', 'ADDSLOTSRANGE', from, to - 1);
    }),
  );
  for (const [i, admin] of others.entries()) {
    await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 2);
    const { port } = servers[0] as RedisServer;
    await admin.call('CLUSTER', 'MEET', '127.0.0.1', port, Number(await busPortOf(first)));
  }
  await until(async () => (await Promise.all(admins.map(isWhole))).every(Boolean));
  if (replica) {
    const id = String(await first.call('CLUSTER', 'MYID'));
    const last = admins[3] as Redis;
    await until(async () => String(await last.call('CLUSTER', 'NODES')).includes(id));
    await last.call('CLUSTER', 'REPLICATE', id);
    await until(async () => /master_link_status:up/.test(await last.info('replication')));
  }
  for (const admin of admins) admin.disconnect();
  return {
    masters: servers.slice(0, 3),
    replica: servers[3],
    moveSlots,
    stop: async () => void (await Promise.all(servers.map((server) => server.stop()))),
  };
}

async function moveSlots(from: RedisServer, to: RedisServer, count: number): Promise<void> {
  const [source, target] = await Promise.all(
    [from, to].map(async ({ port }) => {
      const admin = new Redis(port, '127.0.0.1');
      const id = String(await admin.call('CLUSTER', 'MYID'));
      admin.disconnect();
      return id;
    }),
  );
  const reshard = [
    '--cluster',
    'reshard',
    `127.0.0.1:${from.port}`,
    '--cluster-yes',
    '--cluster-slots',
    String(count),
  ];
  await promisify(execFile)(
    'redis-cli',
    [
      ...reshard,
      '--cluster-from',
      source as string,
      '--cluster-to',
      target as string,
      '--cluster-timeout',
      '5000',
    ],
    { maxBuffer: 16 * 1_048_576 },
  );
}

async function startNode(): Promise<RedisServer> {
  const folder = mkdtempSync(join(tmpdir(), 'amesh-cluster-'));
  const server = await startRedis({
    args: [
      ...[
        '--cluster-enabled',
        'yes',
        '--cluster-port',
        String(await freePort()),
        '--cluster-node-timeout',
        '1000',
      ],
      ...['--dir', folder, '--cluster-require-full-coverage', 'no'],
    ],
  });
  return {
    ...server,
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

async function busPortOf(node: Redis): Promise<string> {
  return ((await node.config('GET', 'cluster-port')) as string[])[1] ?? '';
}

async function isWhole(node: Redis): Promise<boolean> {
  const info = String(await node.call('CLUSTER', 'INFO'));
  return info.includes('cluster_state:ok') && info.includes('cluster_slots_assigned:16384');
}

/** A master, a replica of it, and a sentinel that makes the replica the master where the first one is gone. */
export interface RedisSentinel {
  readonly sentinelPort: number;
  /** What its master is called. */
  readonly name: string;
  readonly master: RedisServer;
  readonly replica: RedisServer;
  stop(): Promise<void>;
}

export async function startRedisSentinel(): Promise<RedisSentinel> {
  const name = 'nonces';
  const master = await startRedis();
  const replica = await startRedis({ args: ['--replicaof', `127.0.0.1 ${master.port}`] });
  const link = new Redis(replica.url);
  await until(async () => /master_link_status:up/.test(await link.info('replication')));
  link.disconnect();
  const folder = mkdtempSync(join(tmpdir(), 'amesh-sentinel-'));
  const file = join(folder, 'sentinel.conf');
  writeFileSync(
    file,
    [
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 2000`,
      '',
    ].join('\n'),
  );
  const sentinel = await startRedis({ file, args: ['--sentinel'] });
  const watcher = new Redis(sentinel.url);
  await until(async () =>
    String(await watcher.call('SENTINEL', 'REPLICAS', name)).includes(String(replica.port)),
  );
  watcher.disconnect();
  return {
    sentinelPort: sentinel.port,
    name,
    master,
    replica,
    async stop() {
      await Promise.all([sentinel, master, replica].map((server) => server.stop()));
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

async function until(check: () => Promise<boolean>): Promise<void> {
  for (const endsAt = Date.now() + 20_000; !(await check()); await sleep(20)) {
    if (Date.now() > endsAt) throw new Error('Redis did not get there in 20 s.');
  }
}
