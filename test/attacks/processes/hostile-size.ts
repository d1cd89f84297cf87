// Reads a list of which one part is garbage, and says what that took. node hostile-size.mjs <dir> <place> <part> <bytes> [url]
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { deviceIdOf, toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { createStorage } from 'unstorage';
import { writeAuthMeshHeader } from '../../../src/core/wire/header';
import { createVerifierWithoutFiles } from '../../../src/machine/worker';
import { FileStore } from '../../../src/storage/files/file-store';
import type { KvNamespace } from '../../../src/storage/kv';
import { pageKey } from '../../../src/storage/page-key';
import { RedisDocumentStore } from '../../../src/storage/redis/documents/document-store';
import { toDocumentStore } from '../../../src/storage/unstorage/document-store';
import type { PagedList } from '../../../src/trust/format/paged-list';
import { ListStore } from '../../../src/trust/list/list-store';
import { NOWHERE } from '../../../src/trust/list/seen';

const [dir = '', place = '', part = '', many = '', url = ''] = process.argv.slice(2);
const { publicKey, page, pages, head } = JSON.parse(readFileSync(join(dir, 'facts.json'), 'utf8'));
const owner = new Uint8Array(Buffer.from(publicKey, 'base64url'));
const list = await deviceIdOf(owner, nodeCrypto);

/** The stored items as texts, one of them garbage. */
function items(): Map<string, string> {
  const all = new Map<string, string>([
    ['allow_list.json', head],
    ...Object.entries<string>(pages).map(([name, text]) => [pageKey('allow_list.json', name), text] as const),
  ]);
  all.set(
    part === 'head' ? 'allow_list.json' : pageKey('allow_list.json', page),
    Buffer.alloc(Number(many), '{').toString(),
  );
  return all;
}

const places: Record<string, () => () => Promise<unknown>> = {
  'a folder': () => () => listOf(new FileStore(dir)),
  Redis: () => {
    const store = new RedisDocumentStore({ kind: 'url', url, redis: {} }, 'amesh:');
    return () => listOf(store, 'list:x');
  },
  unstorage: () => {
    const storage = createStorage();
    const bytes = new Map([...items()].map(([key, text]) => [key, Buffer.from(text)]));
    for (const [key, value] of bytes) storage.setItemRaw(key, value);
    return () => listOf(toDocumentStore(storage));
  },
  KV: () => {
    const all = items();
    const unused = () => Promise.reject(new Error('The list is only read.'));
    const get = async (key: string) => all.get(key) ?? null;
    const namespace = { get, getWithMetadata: get, put: unused, delete: unused, list: unused };
    return () => verdictOf(namespace);
  },
  'a text': () => {
    const all = items();
    const text =
      (all.get('allow_list.json') as string) +
      Object.keys(pages)
        .map((name) => all.get(pageKey('allow_list.json', name)))
        .join('');
    const flat = Buffer.from(text).toString(); // as one that comes from outside
    return () => verdictOf(flat);
  },
};

/** How a Worker with this list judges a request of the device on the damaged page, whose signature is wrong. */
async function verdictOf(allowList: KvNamespace | string): Promise<unknown> {
  const verifier = createVerifierWithoutFiles({ allowList, ownerKey: publicKey, hosts: ['x'] }, {});
  const id = JSON.parse(pages[page].split('\n')[0]).id;
  const created = Math.floor(Date.now() / 1000);
  const authorization = writeAuthMeshHeader(
    id,
    created,
    toBase64Url(new Uint8Array(16)),
    toBase64Url(new Uint8Array(64)),
  );
  const headers = { host: 'x', authorization };
  return verifier.verify({ method: 'GET', target: '/', authority: 'x', headers, body: new Uint8Array() });
}

function listOf(store: ConstructorParameters<typeof ListStore>[0], key?: string) {
  return new ListStore(store, { owners: [owner] }, list, { key, seen: NOWHERE }).read();
}

const read = places[place]?.() as () => Promise<unknown>;
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc');
gc();
await new Promise((resolve) => setTimeout(resolve, 50)); // what is freed goes back later
gc();
const [rss, bytes] = [memory('VmRSS'), bytesRead()];
writeFileSync('/proc/self/clear_refs', '5'); // the highest is counted anew
const found = await read().then(
  (value) => {
    const { isWhole, code } = value as PagedList & { code?: string };
    return code ?? (isWhole ? 'whole' : 'not whole');
  },
  ({ code }) => code,
);
const result = { found, grownMb: (memory('VmHWM') - rss) / 1024, readMb: (bytesRead() - bytes) / 1e6 };
process.stdout.write(`result ${JSON.stringify(result)}\n`);
process.exit();

function memory(name: string): number {
  return Number(
    new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1],
  );
}

/** By all system calls that read. */
function bytesRead(): number {
  return Number(/^rchar: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}
