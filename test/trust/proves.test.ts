import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addDevice,
  createIdentity,
  fromTrustLine,
  issueGrant,
  openDevice,
  toTrustLine,
} from '@authmesh/sdk/admin';
import { createAllowList } from '@authmesh/sdk/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readToken } from '../../src/bootstrap/tokens/read-token';
import {
  assertIntroduction,
  type Introduction,
  readIntroduction,
  writeIntroduction,
} from '../../src/pairing/ceremony/introduction';
import { newParty } from '../support/ceremony';
import { vectors } from '../support/vectors';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
});
afterEach(() => rm(root, { recursive: true, maxRetries: 20 }));

async function device() {
  await createIdentity(root, {}, { friendlyName: 'own' });
  return openDevice(root, {});
}

const { deviceId, publicKey } = vectors.devices.target;
const peer = { deviceId, publicKey, friendlyName: 'api' };
const TARGET = { ...peer, role: 'target', hosts: ['api.example.com'] } as const;

describe('a target', () => {
  it('proves its answers until somebody says that it does not, and until somebody says that it does again', async () => {
    const { trust } = await device();
    const seen: unknown[] = [];
    for (const said of [{}, { proves: false }, {}, { proves: true }]) {
      await trust.update((draft) => addDevice(draft, { ...TARGET, ...said }, 0));
      const list = await trust.read();
      seen.push([list.targetOf('api.example.com')?.proves, list.entry(deviceId)?.proves]);
    }
    expect(seen).toEqual([
      [undefined, undefined],
      [false, false],
      [false, false],
      [undefined, undefined],
    ]);
  });

  it('in plain values has true or false for this, and nothing else', () => {
    const list = (proves: unknown) =>
      createAllowList({ devices: [{ ...peer, roles: ['target'], proves: proves as boolean }] });
    expect(list(false).find(deviceId)?.proves).toBe(false);
    expect(() => list('no')).toThrow('proves must be true or false.');
  });
});

describe('a trust line', () => {
  it('says that a machine cannot prove its answers', async () => {
    const line = toTrustLine({ ...peer, proves: false });
    expect(line).toBe(`amesh-p256/no-proofs ${publicKey} api`);
    expect(await fromTrustLine(line)).toEqual({ ...peer, proves: false });
    expect(toTrustLine({ ...peer, proves: true })).toBe(`amesh-p256 ${publicKey} api`);
  });

  it.each(['amesh-p256/proofs', 'amesh-p256/', 'amesh-p256 /no-proofs', 'amesh-p256/no-proofs/no-proofs'])(
    'does not begin with %s',
    async (prefix) => {
      await expect(fromTrustLine(`${prefix} ${publicKey} api`)).rejects.toMatchObject({
        code: 'malformed_trust_line',
      });
    },
  );
});

describe('the introduction of a target', () => {
  const th = new Uint8Array(32);
  const given = async (own: object, role: Introduction['role'] = 'target') => {
    const party = await newParty(role, 'api', role === 'target' ? ['api.example.com'] : []);
    const introduction: Introduction = { ...party.own, ...own };
    return { party, introduction, content: await writeIntroduction(th, introduction, party.signer) };
  };
  const read = (content: object, role: Introduction['role'] = 'target') =>
    readIntroduction(th, content as Record<string, unknown>, role);

  it('says that it cannot prove its answers, and its key has signed that', async () => {
    const { introduction, content } = await given({ proves: false });
    expect(await read(content)).toEqual(introduction);
    const { proves: _, ...without } = content as { proves: false };
    await expect(read(without)).rejects.toThrow();
    const plain = await given({});
    expect(await read(plain.content)).toEqual(plain.introduction);
    await expect(read({ ...plain.content, proves: false })).rejects.toThrow();
  });

  it.each([{ proves: true }, { proves: null }, { proves: 0 }, { proves: undefined }])(
    'says it in no other form: %j',
    async (other) => {
      const { content } = await given({});
      await expect(read({ ...content, ...other })).rejects.toThrow();
    },
  );

  it('does not pass for that of a controller', async () => {
    const { party, introduction, content } = await given({ proves: false }, 'controller');
    expect(() => assertIntroduction(introduction, 'controller', party.signer)).toThrow(TypeError);
    await expect(read(content, 'controller')).rejects.toThrow();
  });
});

describe('a grant', () => {
  it('says that its issuer cannot prove its answers', async () => {
    const own = await device();
    const options = { names: 'x', uses: 1, leaseSeconds: 60, maxLeaseSeconds: 60 };
    for (const [proves, claim] of [
      [false, { proves: false }],
      [true, {}],
      [undefined, {}],
    ] as const) {
      const { token } = await issueGrant(own, { ...options, proves });
      const { claims } = await readToken(token);
      expect('proves' in claims ? { proves: claims.proves } : {}).toEqual(claim);
    }
  });
});
