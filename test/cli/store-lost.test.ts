import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { toTrustLine } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startRelay } from '../relay/client';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

/** A way to Redis that ends for good once the first change of a list was answered. */
async function wayThatEnds(port: number) {
  let isWriting = false;
  let isOver = false;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    if (isOver) return void client.destroy();
    const redis = connect(port, '127.0.0.1');
    for (const socket of [client, redis]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        redis.destroy();
      });
    }
    client.on('data', (chunk) => {
      if (isOver) client.destroy();
      else redis.write(chunk);
      isWriting ||= chunk.includes('PUBLISH'); // the script that changes a list
    });
    redis.on('data', (chunk) => {
      client.write(chunk);
      isOver ||= isWriting;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: own } = server.address() as AddressInfo;
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { url: `redis://127.0.0.1:${own}`, close };
}

describeWithRedis('a store that is lost right after a change', { timeout: 120_000 }, () => {
  let redis: RedisServer;
  let machine: Machine;
  let env: { AMESH_STORE_URL: string };
  let line: string;
  let relay: Awaited<ReturnType<typeof startRelay>>;
  beforeAll(async () => {
    redis = await startRedis();
    relay = await startRelay();
    env = { AMESH_STORE_URL: redis.url };
    machine = await createMachine();
    await machine.amesh(['init', '--name', 'api'], { env });
    line = toTrustLine(await (await createMachine()).init('laptop'));
    await machine.amesh(['trust', 'add', '--role', 'controller', line, '--yes'], { env });
  });
  afterAll(async () => {
    await relay?.relay.close();
    await redis?.stop();
  });

  it.each<[string, () => Promise<readonly string[]>, string]>([
    [
      'trust add',
      async () => ['trust', 'add', '--role', 'target', '--host', 'a.example', line, '--yes'],
      'a.example',
    ],
    ['rename', async () => ['rename', 'laptop', 'desk'], 'desk'],
    [
      'tokens cancel',
      async () => {
        const made = await machine.amesh(
          ['grant', '--name', 'job-*', '--uses', '2', '--host', 'a.example', '--json'],
          { env },
        );
        return ['tokens', 'cancel', objectOf(made).id as string];
      },
      '',
    ],
    [
      'provision --wait',
      async () => ['provision', '--name', 'prod', '--wait', '--relay', `ws://127.0.0.1:${relay.port}/ws`],
      'prod',
    ],
    ['revoke --delegate', async () => ['revoke', '--delegate', 'A'.repeat(22), '--yes'], ''],
  ])('%s does not say that it has changed nothing', async (_command, words, shows) => {
    const args = await words();
    const way = await wayThatEnds(Number(new URL(redis.url).port));
    const before = (await machine.amesh(['list', '--json'], { env })).stdout;
    const ran = await machine.amesh(args, { env: { AMESH_STORE_URL: way.url } });
    way.close();
    expect(ran.code, ran.stderr).not.toBe(0);
    expect(ran.stderr).not.toContain('No changes were made.');
    const after = (await machine.amesh(['list', '--json'], { env })).stdout;
    expect(after).toContain(shows);
    expect(after).not.toBe(before);
  });
});
