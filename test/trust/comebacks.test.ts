import { addDevice, dismissController, type ListHead, revokeDevice } from '@authmesh/sdk/admin';
import { beforeEach, describe, expect, it } from 'vitest';
import { ListDraft } from '../../src/trust/format/draft';
import { addGrant, enrolCaller } from '../../src/trust/grants';
import { takeProvision } from '../../src/trust/tokens';
import { emptyHead } from '../support/list-document';

// A token or a grant brings back no role that a person has taken since, whatever role the device has by then.

const NOW = 1_764_000_000;
const ID = `am_${'a'.repeat(16)}`;
const peer = { deviceId: ID, publicKey: `Ag${'a'.repeat(42)}`, friendlyName: 'peer' };

let head: ListHead;
beforeEach(() => {
  head = emptyHead({ revision: 1 });
});

/** @returns the roles of the device afterwards */
async function change(apply: (draft: ListDraft) => unknown, nowSeconds = NOW): Promise<readonly string[]> {
  const draft = new ListDraft(head, () => Promise.reject(new Error('A small list has no page.')), nowSeconds);
  await apply(draft);
  if (draft.isChanged) head = (await draft.finish()).head;
  return (await draft.device(ID))?.roles ?? [];
}
const add = (role: 'controller' | 'target') =>
  change((draft) => addDevice(draft, { ...peer, role, hosts: [] }, NOW));

/** How a device lost the right to call, and has another role. */
const ENDS: [string, () => Promise<unknown>][] = [
  [
    'was revoked and trusted as a target',
    async () => {
      await add('controller');
      await change((draft) => revokeDevice(draft, ID, NOW));
      await add('target');
    },
  ],
  [
    'was both, and lost the right to call',
    async () => {
      await add('controller');
      await add('target');
      await change((draft) => dismissController(draft, ID, NOW));
    },
  ],
];

describe.each(ENDS)('a device that %s', (_how, end) => {
  beforeEach(async () => {
    await end();
    expect(await change(() => {})).toEqual(['target']);
  });

  it('may not call again by an older provision token, but by a later one', async () => {
    const take = (id: string, issuedAt: number) =>
      change((draft) => takeProvision(draft, { id, issuedAt, controller: peer, hosts: [] }, NOW + 10));
    await expect(take('1', NOW)).rejects.toMatchObject({ code: 'token_revoked' });
    expect(await take('2', NOW + 1)).toEqual(['target', 'controller']);
  });

  it('may not call again by a grant that was open then, but by a later one', async () => {
    const grant = (id: string, issuedAt: number) => ({
      ...{ id, issuedAt, publicKey: '', names: '*', uses: 9, used: 0, expiresAt: NOW + 900 },
      ...{ leaseSeconds: 60, maxLeaseSeconds: 60 },
    });
    await change((draft) => addGrant(draft, grant('1', NOW), NOW));
    await change((draft) => addGrant(draft, grant('2', NOW + 1), NOW));
    const enrol = (id: string) => change((draft) => enrolCaller(draft, id, peer, NOW + 10), NOW + 10);
    await expect(enrol('1')).rejects.toMatchObject({ code: 'enrolment_refused' });
    expect(await enrol('2')).toEqual(['target', 'controller']);
  });
});

it('a target that has moved to another key is revoked with that key, but not with a key that is trusted by itself', async () => {
  const keyOf = (letter: string) => ({
    deviceId: `am_${letter.repeat(16)}`,
    publicKey: `Ag${letter.repeat(42)}`,
  });
  const [trusted, present] = [keyOf('b'), keyOf('c')];
  const { friendlyName } = peer;
  await change(async (draft) => {
    const target = { friendlyName, roles: ['target'] as const, hosts: [], addedAt: NOW };
    const keys = [{ ...keyOf('a'), until: NOW + 900 }, { ...trusted, until: NOW + 900 }, present];
    await draft.put({ ...target, ...keyOf('a'), keys });
    await draft.put({ ...target, ...trusted });
  });
  await change((draft) => revokeDevice(draft, ID, NOW));
  await change(async (draft) => {
    expect(await draft.tombstone(present.deviceId)).toMatchObject({ revokedAt: NOW });
    expect(await draft.device(trusted.deviceId)).toMatchObject({ roles: ['target'] });
  });
  const controller = { ...present, friendlyName };
  const take = change((draft) =>
    takeProvision(draft, { id: '1', issuedAt: NOW, controller, hosts: [] }, NOW),
  );
  await expect(take).rejects.toMatchObject({ code: 'token_revoked' });
});
