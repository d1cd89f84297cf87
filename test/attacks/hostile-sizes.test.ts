import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, openDevice } from '@authmesh/sdk/admin';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Script, toScript } from '../support/child';
import { times } from '../support/full';
import { randomId, withDevices } from '../support/list-document';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';

/** Somebody puts 100 MB of garbage in the place of a head or of a page: it is refused without several copies of it. */

const MANY_MB = times(60, 100);
const MANY = MANY_MB * 1024 * 1024;
/** What reading a good list takes, and the largest head and page twice. */
const LITTLE_MB = 40;

let script: Script;
let dir: string;
let head: string;
let page: string;
let pages: Record<string, string>;

beforeAll(async () => {
  script = await toScript('test/attacks/processes/hostile-size.ts');
  dir = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  const { publicKey } = await createIdentity(dir, {}, { friendlyName: 'api' });
  const { trust } = await openDevice(dir, {});
  await withDevices(trust, Array.from({ length: 1200 }, randomId));
  const opened = await trust.open();
  pages = Object.fromEntries([...opened.pages].map(([name, bytes]) => [name, Buffer.from(bytes).toString()]));
  head = Buffer.from(opened.head).toString();
  page = Object.keys(pages)[1] as string;
  await writeFile(join(dir, 'facts.json'), JSON.stringify({ publicKey, page, pages, head }));
});
afterAll(async () => {
  script?.remove();
  await rm(dir, { recursive: true, maxRetries: 20 });
});

const FOUND = { head: 'allow_list_integrity_failure', page: 'not whole' };

async function read(place: string, part: 'head' | 'page', url = '') {
  const child = script.start([dir, place, part, String(MANY), url]);
  const result = JSON.parse(await child.line('result '));
  await child.ended;
  console.log(
    `${place}, ${part}: ${Math.round(result.grownMb)} MB more memory, ${Math.round(result.readMb)} MB read`,
  );
  return result as { found: string; grownMb: number; readMb: number };
}

const describeOnLinux = process.platform === 'linux' ? describe : describe.skip;

describeOnLinux.each(['head', 'page'] as const)(`${MANY_MB} MB of garbage as a %s`, (part) => {
  it('in a folder is not read', async () => {
    const path = part === 'head' ? join(dir, 'allow_list.json') : join(dir, 'list', page);
    await writeFile(path, Buffer.alloc(MANY, '{'));
    const { found, grownMb, readMb } = await read('a folder', part);
    await writeFile(path, part === 'head' ? head : (pages[page] as string));
    expect(found).toBe(FOUND[part]);
    expect(readMb).toBeLessThan(20);
    expect(grownMb).toBeLessThan(LITTLE_MB);
  });

  // These return the whole item, whatever is asked for.
  it.each(['unstorage', 'KV', 'a text'])('in %s is held no further time', async (place) => {
    const { found, grownMb } = await read(place, part);
    expect(found).toBe(part === 'page' && place !== 'unstorage' ? 'allow_list_unavailable' : FOUND[part]);
    // What follows the head in a text has to become bytes to be looked at: one copy.
    expect(grownMb).toBeLessThan(place === 'a text' && part === 'page' ? MANY_MB + LITTLE_MB : LITTLE_MB);
  });
});

describeWithRedis(`${MANY_MB} MB of garbage`, () => {
  let redis: RedisServer;
  let admin: Redis;
  beforeAll(async () => {
    redis = await startRedis();
    admin = new Redis(redis.url);
  });
  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
  });

  it.each(['head', 'page'] as const)('as a %s in Redis does not leave it', async (part) => {
    await admin.hset('amesh:list:x', { document: head, ...pages });
    await admin.hset('amesh:list:x', part === 'head' ? 'document' : page, Buffer.alloc(MANY, '{'));
    const { found, grownMb, readMb } = await read('Redis', part, redis.url);
    expect(found).toBe(FOUND[part]);
    expect(readMb).toBeLessThan(20);
    expect(grownMb).toBeLessThan(LITTLE_MB);
  });
});
