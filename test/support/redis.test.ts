import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithRedis, type RedisServer, startRedis } from './redis';

describeWithRedis('a redis-server for tests', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis({ args: ['--maxmemory', '8mb'] });
  });
  afterAll(() => redis?.stop());

  function ask(...commands: string[]): Promise<string> {
    const socket = connect(redis.port, '127.0.0.1');
    socket.end(`${[...commands, 'QUIT'].join('\r\n')}\r\n`);
    return text(socket);
  }

  it('replies with the arguments given, stands still while it is paused, and starts again empty', async () => {
    expect(await ask('CONFIG GET maxmemory', 'SET a b')).toContain('8388608');
    redis.pause();
    const answer = ask('GET a');
    const isStill = new Promise((resolve) => setTimeout(resolve, 300, 'still'));
    expect(await Promise.race([answer, isStill])).toBe('still');
    redis.resume();
    expect(await answer).toBe('$1\r\nb\r\n+OK\r\n');
    redis.pause();
    await redis.restart();
    expect(await ask('GET a')).toBe('$-1\r\n+OK\r\n');
    await redis.stop();
    await expect(ask('GET a')).rejects.toThrow('ECONNREFUSED');
  });
});
