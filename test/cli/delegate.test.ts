import { delegatedSigner } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { type Machine, objectOf, useMachines } from './amesh';

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
  it('prints the secret alone on stdout, and what it permits on stderr', async () => {
    const { caller, ids } = await createPaired();
    const ran = await caller.amesh(DELEGATE);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^amesh_delegation_[\w-]{43}\.eyJ[\w-]+\.[\w-]+\.[\w-]{86}\n$/);
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
      '  It may do: orders:read. It never has more than this machine has there at that moment, which only the target knows.',
    );
    expect(ran.stderr).toContain(`on the target:  amesh revoke --delegate ${delegation.id}`);
    expect(ran.stderr).not.toContain(ran.stdout.slice(17, 60));
    expect(ran.stderr).not.toContain('eyJ');
  });

  it('prints one object with --json, and nothing with --quiet but the secret', async () => {
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

  it('is shown by no error if somebody types it where an ID, a name or a flag belongs', async () => {
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

  it('refuses more than a statement has room for', async () => {
    const { caller } = await createPaired();
    const wish = (scopes: string[]) => [
      ...['delegate', '--name', 'a', '--target', 'orders-api'],
      ...scopes.flatMap((scope) => ['--scope', scope]),
    ];
    const many = await caller.amesh(wish(Array.from({ length: 17 }, (_, i) => `a${i}`)));
    expect([many.code, many.stderr]).toEqual([2, expect.stringContaining('--scope: a delegation has room')]);
    const long = await caller.amesh(wish(Array.from({ length: 16 }, (_, i) => `${'a'.repeat(50)}${i}`)));
    expect([long.code, long.stderr]).toEqual([
      2,
      expect.stringContaining('The delegation would be too long'),
    ]);
  });

  it('refuses a device that is not called by this machine', async () => {
    const { api } = await createPaired();
    const ran = await api.amesh(['delegate', '--name', 'a', '--scope', 'a', '--target', 'laptop']);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain('may call this machine, but this machine does not call it.');
  });
});

const ID = 'AAAAAAAAAAAAAAAAAAAAAA';

describe('amesh revoke --delegate', () => {
  it('ends a delegation by its id, and shows it until no clock could bring it back', async () => {
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

  it('warns on a machine that nobody may call, such as the one that lent', async () => {
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

  it('takes no name: a target does not know it', async () => {
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
  it('sets since when statements count, and says what follows', async () => {
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
