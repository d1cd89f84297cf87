import {
  addDevice,
  cancelToken,
  type DocumentStore,
  issueProvision,
  pendingTokens,
  readIdentity,
  renameIdentity,
} from '@authmesh/sdk/admin';
import { expect, it } from 'vitest';
import { documentOf } from '../support/list-document';
import { useDevices } from '../support/use-devices';

const device = useDevices();
const NOWHERE: DocumentStore = {
  read: async () => null,
  readPages: async () => [],
  swap: async () => false,
};

it('a device gets another name, which is cleaned, and keeps its identity', async () => {
  const { store, identity } = await device('laptop');
  const renamed = await renameIdentity(store, ' \x1b[31mold laptop ');
  expect(renamed).toEqual({ ...identity, friendlyName: 'old laptop' });
  expect(await readIdentity(store)).toEqual(renamed);
  expect(await renameIdentity(store, 'old laptop')).toEqual(renamed);
});

it('a device that was renamed by another process in the meantime gets the later name', async () => {
  const { store, identity } = await device('laptop');
  let isFirst = true;
  const contended: DocumentStore = {
    read: (key) => store.read(key),
    readPages: async () => [],
    async swap(key, expected, bytes) {
      if (isFirst) await renameIdentity(store, 'from elsewhere');
      isFirst = false;
      return store.swap(key, expected, bytes);
    },
  };
  expect(await renameIdentity(contended, 'from here')).toEqual({ ...identity, friendlyName: 'from here' });
  expect((await readIdentity(store))?.friendlyName).toBe('from here');
});

it('a machine without an identity cannot be renamed', async () => {
  await expect(renameIdentity(NOWHERE, 'laptop')).rejects.toMatchObject({ code: 'no_identity' });
});

it('a token that was issued is pending until it is cancelled', async () => {
  const issuer = await device('laptop');
  const { entry } = await issueProvision(issuer, { friendlyName: 'orders-api', hosts: ['api.example.com'] });
  const cancel = (id: string) => issuer.trust.update((draft) => cancelToken(draft, id, entry.issuedAt + 1));
  expect(pendingTokens(await issuer.trust.readHead())).toEqual([entry]);
  expect((await cancel('another')).isChanged).toBe(false);
  expect(pendingTokens((await cancel(entry.id)).head)).toEqual([]);
  expect((await cancel(entry.id)).isChanged).toBe(false);
});

it('no token is issued for a host that already belongs to a target', async () => {
  const [issuer, target] = await Promise.all([device('laptop'), device('orders-api')]);
  const { deviceId, publicKey, friendlyName } = target.identity;
  const known = { deviceId, publicKey, friendlyName, role: 'target', hosts: ['api.example.com'] } as const;
  await issuer.trust.update((list) => addDevice(list, known, 1_764_000_000));
  const again = issueProvision(issuer, { friendlyName: 'another', hosts: ['api.example.com'] });
  await expect(again).rejects.toMatchObject({ code: 'host_taken' });
  expect((await documentOf(issuer.trust)).tokens).toEqual([]);
});
