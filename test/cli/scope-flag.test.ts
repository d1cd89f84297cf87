import { openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { changeDevices } from '../support/list-document';
import { claimsOf } from '../support/tokens';
import { objectOf, useMachines } from './amesh';

const createMachine = useMachines();

async function createTarget() {
  const machine = await createMachine('prod-api');
  const { publicKey } = await (await createMachine()).init('laptop');
  const line = `amesh-p256 ${publicKey} laptop`;
  const add = (...args: string[]) => machine.amesh(['trust', 'add', '--role', 'controller', ...args, line]);
  return { machine, line, add };
}

describe('--scope', () => {
  it('of trust add gives scopes to a controller, which keeps those that it has', async () => {
    const { machine, add } = await createTarget();
    const first = await add('--scope', 'orders:read', '--scope', 'reports:*');
    expect([first.code, first.stderr]).toEqual([
      0,
      expect.stringContaining('  It may do: orders:read, reports:*.\n'),
    ]);
    const second = await add('--scope=reports:daily,jobs', '--json');
    expect(objectOf(second)).toMatchObject({
      changed: true,
      device: { scopes: ['jobs', 'orders:read', 'reports:*'] },
    });
    expect((await add()).stderr).toContain('No changes were made.');
    expect((await machine.allowList()).devices[0]?.scopes).toEqual(['jobs', 'orders:read', 'reports:*']);
  });

  it('of trust add is refused for a target, and trust add begins trust again that has ended', async () => {
    const { machine, line, add } = await createTarget();
    const asTarget = await machine.amesh(['trust', 'add', '--role', 'target', '--scope', 'a', line]);
    expect([asTarget.code, asTarget.stderr]).toEqual([
      2,
      expect.stringContaining('--scope is for a controller'),
    ]);
    await add('--scope', 'a');
    const { trust } = await openDevice(machine.dir, {});
    await changeDevices(trust, (device) => ({ ...device, expiresAt: 1_764_000_000 }));
    expect((await add()).stderr).toContain('may now call this machine.');
    const [device] = (await machine.allowList()).devices;
    expect([device?.scopes, device?.expiresAt]).toEqual([['a'], undefined]);
  });

  it('of grant is in the list of this machine, and of provision in the token', async () => {
    const { machine } = await createTarget();
    const scope = ['--scope', 'jobs:*', '--scope', 'jobs:take'];
    const grant = await machine.amesh(['grant', '--name', 'worker-*', ...scope]);
    expect(grant.stderr).toContain('  Each caller may do: jobs:*.\n');
    expect(claimsOf(grant.stdout)).not.toHaveProperty('scopes');
    const token = await machine.amesh(['provision', '--name', 'server', ...scope]);
    expect(token.stderr).toContain('  This machine may then do there: jobs:*.\n');
    expect(claimsOf(token.stdout).scopes).toEqual(['jobs:*']);
    const { grants, tokens } = await machine.allowList();
    expect([grants[0]?.scopes, tokens[0]]).toMatchObject([['jobs:*'], { scopes: ['jobs:*'] }]);
    expect(claimsOf((await machine.amesh(['provision', '--name', 'other'])).stdout)).not.toHaveProperty(
      'scopes',
    );
  });

  const many = Array.from({ length: 65 }, (_, i) => `s:${i}`);
  it.each([
    ['trust add', ['--role', 'controller', '--scope', 'A', 'amesh-p256 x y'], 'usage'],
    ['trust add', ['--role', 'controller', '--scope', 'a', '--scope'], 'usage'],
    ['grant', ['--name', 'w', '--scope', '*:a'], 'usage'],
    ['grant', ['--name', 'w', '--scope', many.join(',')], 'too_many_scopes'],
    ['provision', ['--name', 's', '--scope', many.slice(0, 17).join(',')], 'usage'],
    ['listen', ['--scope', 'a b'], 'usage'],
    ['listen', ['--scope', many.join(',')], 'too_many_scopes'],
    ['invite', ['482916', '--scope', 'a'], 'usage'],
  ])('of %s is checked before anything happens: %j', async (command, args, code) => {
    const machine = await createMachine('prod-api');
    const ran = await machine.amesh([...command.split(' '), ...args, '--json']);
    expect(objectOf(ran)).toMatchObject({ ok: false, error: { code } });
    expect(await machine.allowList()).toMatchObject({ revision: 1 });
  });
});
