// A Worker that changes the allow list in its KV namespace, as an administrator's machine does in any other store.
import { addDevice, revokeDevice } from '@authmesh/sdk/admin';
import { webCrypto } from '@authmesh/sdk/crypto/web';
import { createStorage } from 'unstorage';
import kvDriver from 'unstorage/drivers/cloudflare-kv-binding';
import type { DocumentStore } from '../../src/storage/document-store';
import { toDocumentStore } from '../../src/storage/unstorage/document-store';
import { ListStore } from '../../src/trust/list/list-store';
import { NOWHERE } from '../../src/trust/list/seen';
import { readOwnerKeys } from '../../src/trust/owner-key';
import { documentOf, randomId, withDevices } from '../support/list-document';

interface Env {
  readonly AMESH_ALLOW_LIST: object;
  readonly OWNER: string;
  readonly OWNER_KEY: string;
  /** Default: the key of OWNER_KEY alone. */
  readonly AMESH_OWNER_KEY?: string;
}

/** What was seen lies elsewhere: KV may show it later than the list. */
function memoryStore(): DocumentStore {
  const documents = new Map<string, Uint8Array>();
  return {
    read: async (key) => documents.get(key) ?? null,
    readPages: async () => [],
    swap: async (key, _expected, next) => documents.set(key, next).size > 0,
  };
}
const seen = memoryStore();

/** Seals the list of the former owner anew, as amesh trust take-over does. */
async function takeOver(trust: ListStore, former: ListStore): Promise<void> {
  const { head: bytes, list } = await former.open();
  const { hosts, tokens, grants, joins, targets, ended, revision } = list.head;
  await trust.create(
    (draft) => {
      draft.change({ hosts, tokens, grants, joins, targets, ended });
      return draft.take(list.lines());
    },
    { after: revision, bytes, head: list.head },
  );
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const binding = env.AMESH_ALLOW_LIST as never;
    // A storage for each request, as in Workers that make it from their bindings.
    const store = toDocumentStore(createStorage({ driver: kvDriver({ binding }) }));
    const owner = await webCrypto.importPrivateKey(JSON.parse(env.OWNER_KEY));
    const owners = readOwnerKeys({ AMESH_OWNER_KEY: env.AMESH_OWNER_KEY }) ?? [owner.publicKey];
    const trust = new ListStore(store, { owners, signer: owner }, env.OWNER, { seen });
    const { pathname, searchParams } = new URL(request.url);
    const { name = '', publicKey = '', deviceId = '' } = Object.fromEntries(searchParams);
    try {
      if (pathname === '/create') await trust.create();
      if (pathname === '/fill') await withDevices(trust, Array.from({ length: 200 }, randomId));
      if (pathname === '/add') {
        const device = { deviceId, publicKey, friendlyName: name, role: 'controller', hosts: [] } as const;
        await trust.update((list) => addDevice(list, device, 0));
      }
      if (pathname === '/revoke') await trust.update((list) => revokeDevice(list, deviceId, 0));
      if (pathname === '/take-over')
        await takeOver(trust, new ListStore(store, { owners }, env.OWNER, { seen: NOWHERE }));
      const { revision, devices } = await documentOf(trust);
      return Response.json({ revision, names: devices.map(({ friendlyName }) => friendlyName) });
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      return Response.json({ code, message });
    }
  },
};
