import { createAmesh } from '@authmesh/sdk';
import { type DeviceEntry, issueDelegation, openDevice } from '@authmesh/sdk/admin';
import { delegatedSigner } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { listen } from '../support/listen';
import { type Machine, objectOf, useMachines } from './amesh';
import { examineWith, trust } from './examine';

const createMachine = useMachines();

/** A caller that may call two targets, and one of them. */
async function createPaired() {
  const [caller, api, billing] = [await createMachine(), await createMachine(), await createMachine()];
  const ids: Record<string, string> = {};
  const line = async (machine: Machine, name: string) => {
    const { deviceId, publicKey } = await machine.init(name);
    ids[name] = deviceId;
    return `amesh-p256 ${publicKey} ${name}`;
  };
  const own = await line(caller, 'laptop');
  for (const [machine, name] of [
    [api, 'orders-api'],
    [billing, 'billing'],
  ] as const) {
    await caller.amesh([
      'trust',
      'add',
      '--role',
      'target',
      '--host',
      `${name}:3000`,
      await line(machine, name),
    ]);
    await machine.amesh(['trust', 'add', '--role', 'controller', own]);
  }
  return { caller, api, ids };
}

const DELEGATE = ['delegate', '--name', 'report-agent', '--scope', 'orders:read', '--target', 'orders-api'];

describe('amesh delegate', () => {
  it('names the former key of a target while it moves, and then the present one', async () => {
    const { caller, ids } = await createPaired();
    const { deviceId, publicKey } = await (await createMachine()).init('next');
    const { trust: list } = await openDevice(caller.dir, {});
    const known = (await list.read()).entry(ids['orders-api'] as string) as DeviceEntry;
    const nowSeconds = Math.floor(Date.now() / 1000);
    for (const [days, expected] of [
      [29, known.deviceId],
      [22, deviceId],
      [-1, deviceId],
    ] as const) {
      const former = {
        deviceId: known.deviceId,
        publicKey: known.publicKey,
        until: nowSeconds + days * 86_400,
      };
      await list.update((draft) => draft.put({ ...known, keys: [former, { deviceId, publicKey }] }));
      const { delegation, targets } = await delegatedSigner((await caller.amesh(DELEGATE)).stdout.trim());
      expect(delegation.targets).toEqual([expected]);
      expect(targets).toMatchObject([{ deviceId: expected }]);
    }
    const listed = await caller.amesh(['list']);
    expect(listed.stdout).toContain(`target (moved to the key of ${deviceId})`);
    expect(objectOf(await caller.amesh(['list', '--json', '--name', 'orders-api']))).toMatchObject({
      devices: [
        { deviceId: known.deviceId, keys: [{ publicKey: known.publicKey }, { deviceId, publicKey }] },
      ],
    });
  });

  it('prints only the secret on stdout, and what it permits on stderr', async () => {
    const { caller, ids } = await createPaired();
    const ran = await caller.amesh(DELEGATE);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^amesh_delegation_[\w-]{43}\.eyJ[\w-]+\.[\w-]+\.[\w-]{86}\.[\w-]{44}\n$/);
    const { delegation } = await delegatedSigner(ran.stdout.trim());
    expect(delegation).toMatchObject({
      name: 'report-agent',
      deviceId: ids.laptop,
      scopes: ['orders:read'],
      targets: [ids['orders-api']],
    });
    expect(delegation.expiresAt - Date.now() / 1000).toBeGreaterThan(3500);
    expect(delegation.expiresAt - Date.now() / 1000).toBeLessThan(3601);
    const [first = '', second = ''] = ran.stderr.split('\n');
    expect(first).toMatch(/^✓ "report-agent" may call "orders-api" for 1h \(until .{16} UTC\)\.$/);
    expect(second).toBe(
      '  It may do: orders:read. It never has more scopes than this machine has there at that moment, which only the target knows.',
    );
    expect(ran.stderr).toContain(`on the target:  amesh revoke --delegate ${delegation.id}`);
    expect(ran.stderr).not.toContain(ran.stdout.slice(17, 60));
    expect(ran.stderr).not.toContain('eyJ');
  });

  it('prints one object with --json, and only the secret with --quiet', async () => {
    const { caller, ids } = await createPaired();
    const wish = [...DELEGATE, '--target', ids.billing as string, '--scope', 'reports:*,orders:write'];
    const ran = await caller.amesh([...wish, '--for', '24h', '--json']);
    expect(ran.stderr).toBe('');
    const { delegation, ...facts } = objectOf(ran);
    expect(facts).toEqual({
      ok: true,
      id: expect.stringMatching(/^[\w-]{22}$/),
      name: 'report-agent',
      scopes: ['orders:read', 'orders:write', 'reports:*'],
      targets: [
        { deviceId: ids['orders-api'], friendlyName: 'orders-api' },
        { deviceId: ids.billing, friendlyName: 'billing' },
      ],
      expiresAt: expect.any(Number),
    });
    expect((await delegatedSigner(delegation as string)).delegation.targets).toHaveLength(2);
    const quiet = await caller.amesh([...DELEGATE, '--quiet']);
    expect([quiet.stderr, quiet.stdout.split('\n').length]).toEqual(['', 2]);
  });

  it('leaves no trace in the folder', async () => {
    const { caller } = await createPaired();
    const before = await caller.allowList();
    await caller.amesh(DELEGATE);
    expect(await caller.allowList()).toEqual(before);
  });

  it('is shown by no error if somebody types it instead of an ID, a name or a flag', async () => {
    const machine = await createMachine();
    await machine.init('laptop');
    const part = 'SECRET'.repeat(7);
    for (const secret of [
      `amesh_delegation_${part}x.eyJhbGciOiJ9.${part}`,
      `eyJhbGciOiJFUzI1NiJ9.${part}.${part}`,
    ]) {
      for (const args of [
        ['revoke', secret, '--yes'],
        ['can', secret, '--json'],
        ['delegate', '--name', 'a', '--scope', 'a:b', '--target', secret, '--json'],
        ['delegate', '--name', 'a', '--scope', secret, '--target', 'b'],
        [secret],
      ]) {
        const { code, stdout, stderr } = await machine.amesh(args);
        expect(code, args[0]).not.toBe(0);
        expect(`${stdout}${stderr}`).not.toContain('SECRETS');
        expect(`${stdout}${stderr}`).toContain(`${secret.slice(0, 3)}`);
      }
    }
  });

  it('says what a wildcard for everything means', async () => {
    const { caller } = await createPaired();
    const ran = await caller.amesh(['delegate', '--name', 'a', '--scope', '*', '--target', 'orders-api']);
    expect(ran.stderr).toContain('! "*" is everything that this machine may do there.\n');
  });

  it.each([
    [['--scope', 'a', '--target', 'orders-api'], 2, '--name is missing.'],
    [['--name', 'a', '--target', 'orders-api'], 2, '--scope is missing.'],
    [['--name', 'a', '--scope', 'a'], 2, '--target is missing.'],
    [['--name', 'my agent', '--scope', 'a', '--target', 'orders-api'], 2, '--name must have 1 to 64 of'],
    [['--name', 'a', '--scope', 'Orders', '--target', 'orders-api'], 2, '--scope: "Orders" is not a scope.'],
    [['--name', 'a', '--scope', 'a', '--target', 'nobody'], 1, 'No device is called "nobody".'],
    [
      ['--name', 'a', '--scope', 'a', '--target', 'orders-api', '--for', '25h'],
      2,
      '--for must be a duration',
    ],
    [
      ['--name', 'a', '--scope', 'a', '--target', 'orders-api', '--for', '59s'],
      2,
      '--for must be a duration',
    ],
  ])('refuses %j', async (args, code, message) => {
    const { caller } = await createPaired();
    const ran = await caller.amesh(['delegate', ...args]);
    expect([ran.code, ran.stdout]).toEqual([code, '']);
    expect(ran.stderr).toContain(message);
  });

  it('refuses more than fits into a statement', async () => {
    const { caller } = await createPaired();
    const wish = (scopes: string[]) => [
      ...['delegate', '--name', 'a', '--target', 'orders-api'],
      ...scopes.flatMap((scope) => ['--scope', scope]),
    ];
    const many = await caller.amesh(wish(Array.from({ length: 17 }, (_, i) => `a${i}`)));
    expect([many.code, many.stderr]).toEqual([2, expect.stringContaining('--scope: a delegation can have')]);
    const long = await caller.amesh(wish(Array.from({ length: 16 }, (_, i) => `${'a'.repeat(50)}${i}`)));
    expect([long.code, long.stderr]).toEqual([
      2,
      expect.stringContaining('The delegation would be too long'),
    ]);
  });

  it('refuses a device that this machine does not call', async () => {
    const { api } = await createPaired();
    const ran = await api.amesh(['delegate', '--name', 'a', '--scope', 'a', '--target', 'laptop']);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain('may call this machine, but this machine does not call it.');
  });
});

const ID = 'AAAAAAAAAAAAAAAAAAAAAA';

describe('amesh revoke --delegate', () => {
  it('ends a delegation by its ID, and shows it until no clock could bring it back', async () => {
    const api = await createMachine('orders-api');
    const now = Math.floor(Date.now() / 1000);
    const ran = await api.amesh(['revoke', '--delegate', ID, '--yes']);
    expect([ran.code, ran.stdout]).toEqual([0, '']);
    expect(ran.stderr).toContain(
      `✓ Revoked the delegation ${ID}. Servers on this machine that use ${api.dir}`,
    );
    const [[id, until] = ['', 0], ...others] = (await api.allowList()).ended;
    expect([id, others]).toEqual([ID, []]);
    expect(until - now).toBeGreaterThanOrEqual(25 * 3600);
    expect((await api.amesh(['status'])).stdout).toMatch(
      new RegExp(`^revoked +delegation ${ID} {2}\\(remembered until .{16} UTC\\)$`, 'm'),
    );
    expect(objectOf(await api.amesh(['status', '--json']))).toMatchObject({
      revokedDelegations: [{ id: ID, until }],
    });
    expect(objectOf(await api.amesh(['list', '--json']))).toMatchObject({
      revokedDelegations: [{ id: ID, until }],
    });
    expect((await api.amesh(['list'])).stderr).toContain('One delegation is revoked here: ');
  });

  it('says that it was revoked before, and changes nothing', async () => {
    const api = await createMachine('orders-api');
    await api.amesh(['revoke', '--delegate', ID, '--yes']);
    const before = await api.allowList();
    const ran = await api.amesh(['revoke', '--delegate', ID, '--yes', '--json']);
    expect(objectOf(ran)).toMatchObject({ ok: false, error: { code: 'already_revoked' } });
    expect(await api.allowList()).toEqual(before);
  });

  it('warns on a machine that nobody may call, such as the one that lent the scopes', async () => {
    const { api, caller } = await createPaired();
    const warning = '! No device may call this machine. Is it the target that the delegation names?';
    for (const [machine, count] of [
      [caller, 2],
      [api, 1],
    ] as const) {
      const ran = await machine.amesh(['revoke', '--delegate', ID, '--yes']);
      expect([ran.code, ran.stderr.split(warning).length]).toEqual([0, count]);
    }
  });

  it('accepts no name: a target does not know it', async () => {
    const api = await createMachine('orders-api');
    for (const wrong of ['report-agent', `${ID}A`, `amesh_delegation_${'A'.repeat(43)}`]) {
      const ran = await api.amesh(['revoke', '--delegate', wrong, '--yes']);
      expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining('--delegate takes the ID')]);
      expect(ran.stderr).not.toContain(wrong);
    }
  });

  it('asks first', async () => {
    const api = await createMachine('orders-api');
    const ran = await api.amesh(['revoke', '--delegate', ID]);
    expect(ran.code).not.toBe(0);
    expect((await api.allowList()).ended).toEqual([]);
  });
});

describe('amesh keys cut', () => {
  it('sets from when on statements are valid, and says what that means', async () => {
    const { api, ids } = await createPaired();
    const now = Math.floor(Date.now() / 1000);
    const ran = await api.amesh(['keys', 'cut', 'laptop', '--yes']);
    expect([ran.code, ran.stdout]).toEqual([0, '']);
    expect(ran.stderr).toContain(
      `✓ The working keys and delegations that "laptop" (${ids.laptop}) has signed so far do not count`,
    );
    expect(ran.stderr).toMatch(/New delegations count from \d\d:\d\d:\d\d UTC on:/);
    const [device] = (await api.allowList()).devices;
    expect(device?.keysSince).toBeGreaterThanOrEqual(now);
    expect((await api.amesh(['list'])).stderr).toContain(
      '"laptop": working keys and delegations that begin before ',
    );
    expect((await api.amesh(['status'])).stdout).toMatch(
      /working keys and delegations that begin before .{16} UTC are refused$/m,
    );
    expect(objectOf(await api.amesh(['list', '--json']))).toMatchObject({
      devices: [{ keysSince: device?.keysSince }],
    });
    const again = objectOf(await api.amesh(['keys', 'cut', ids.laptop as string, '--yes', '--json']));
    expect(again).toMatchObject({ ok: true, deviceId: ids.laptop, friendlyName: 'laptop' });
    expect(again.keysSince).toBeGreaterThanOrEqual(device?.keysSince as number);
  });

  it('knows no device that is not in the list', async () => {
    const ran = await (await createMachine('orders-api')).amesh(['keys', 'cut', 'nobody', '--yes']);
    expect([ran.code, ran.stderr]).toEqual([1, expect.stringContaining('No device is called "nobody".')]);
  });
});

describe('amesh doctor, with AMESH_DELEGATION', () => {
  const home = { AUTH_MESH_DIR: '', AMESH_RELAY_URL: 'ws://127.0.0.1:1/ws' };

  it('says who may call what until when, and checks no folder', async () => {
    const { caller, ids } = await createPaired();
    const AMESH_DELEGATION = (await caller.amesh(DELEGATE)).stdout.trim();
    const { of, stdout } = await examineWith(caller, { ...home, AMESH_DELEGATION });
    expect(of.delegate).toMatchObject({ state: 'ok', fix: null });
    expect(of.delegate?.message).toMatch(
      new RegExp(
        `^"report-agent" of ${ids.laptop} may call ${ids['orders-api']} with orders:read, until .{16} UTC\\.$`,
      ),
    );
    for (const check of ['folder', 'identity', 'key', 'list'])
      expect(of[check]).toMatchObject({ state: 'skipped', message: expect.stringContaining('Not used') });
    expect(stdout).not.toContain(AMESH_DELEGATION.slice(17, 60));
  });

  it('says that it ended, and how to make another one', async () => {
    const { caller, ids } = await createPaired();
    const { signer } = await openDevice(caller.dir, {});
    const { text } = await issueDelegation(signer, {
      name: 'job',
      scopes: ['orders:read'],
      targets: [ids['orders-api'] as string],
      lifetimeSeconds: 60,
      now: () => Date.now() - 3_600_000,
    });
    const { of } = await examineWith(caller, { ...home, AMESH_DELEGATION: text });
    expect(of.delegate).toMatchObject({
      state: 'failed',
      message: expect.stringContaining('It ended '),
      fix: `On ${ids.laptop}: amesh delegate --name job --scope orders:read --target ${ids['orders-api']}`,
    });
  });

  it.each([
    [
      'a folder',
      { AMESH_DELEGATION: 'amesh_delegation_x', AUTH_MESH_DIR: '/x' },
      /AUTH_MESH_DIR are both set/,
    ],
    [
      'an owner',
      { AMESH_DELEGATION: 'amesh_delegation_x', AMESH_OWNER_KEY: 'x' },
      /AMESH_OWNER_KEY are both/,
    ],
    ['another text', { AMESH_DELEGATION: 'amesh_delegation_x' }, /^AMESH_DELEGATION is not a delegation/],
    ['an empty one', { AMESH_DELEGATION: '' }, /^AMESH_DELEGATION is empty/],
    ['quotes around it', { AMESH_DELEGATION: '"x"' }, /^AMESH_DELEGATION has quotes around it/],
  ])('refuses %s, as a program does', async (_, env, message) => {
    const machine = await createMachine();
    const { of, code } = await examineWith(machine, { ...home, ...env });
    expect(of.delegate).toMatchObject({ state: 'failed', message: expect.stringMatching(message) });
    expect(code).not.toBe(0);
  });

  it('calls a server as the delegate', async () => {
    const [prod, laptop] = [await createMachine(), await createMachine()];
    const [target, caller] = [await prod.init('prod-api'), await laptop.init('laptop')];
    await trust(prod, caller, 'controller');
    await trust(laptop, target, 'target', ['localhost:1']);
    const verify = createAmesh({ dir: prod.dir, env: {}, onRefusal: () => {} }).verify({ delegates: true });
    const server = await listen((req, res) => verify(req, res, () => void res.end()));
    const lend = ['delegate', '--name', 'job', '--scope', 'x', '--target', 'prod-api'];
    const AMESH_DELEGATION = (await laptop.amesh(lend)).stdout.trim();
    const { of } = await examineWith(laptop, { ...home, AMESH_DELEGATION }, `${server.origin}/`);
    await server.close();
    expect(of.target).toMatchObject({
      state: 'ok',
      message: expect.stringContaining(`The request was signed for "${target.deviceId}".`),
    });
  });
});
