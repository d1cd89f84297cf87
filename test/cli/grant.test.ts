import { createAmesh } from '@authmesh/sdk';
import { afterEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();
const servers: Listening[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function createTarget() {
  const api = await createMachine();
  await api.init('api');
  const verify = createAmesh({ dir: api.dir, env: {} }).verify({ enroll: true });
  const server = await listen((request, response) =>
    verify(request, response, () => void response.end('passed')),
  );
  servers.push(server);
  return { api, server };
}

async function enrol(token: string, server: Listening): Promise<Machine> {
  const worker = await createMachine();
  const amesh = createAmesh({ dir: worker.dir, env: { AMESH_BOOTSTRAP_TOKEN: token } });
  expect((await amesh.fetch(server.origin)).status).toBe(200);
  return worker;
}

const GRANT = ['grant', '--name', 'worker-*', '--ttl', '1h', '--uses', '2', '--lease', '24h'];

describe('amesh grant', () => {
  it('prints only the token on stdout, and its caller is accepted', async () => {
    const { api, server } = await createTarget();
    const ran = await api.amesh(GRANT);
    expect([ran.code, ran.stdout]).toEqual([0, expect.stringMatching(/^eyJ[\w-]+\.[\w-]+\.[\w-]{86}\n$/)]);
    expect(ran.stderr).toMatch(
      /^✓ A grant for 2 callers called "worker-\*", open for 1h \(until .{16} UTC\)\.\n/,
    );
    expect(ran.stderr).toContain('Each caller stays for 24h after its last request, but at most 30d.');
    expect(ran.stderr).not.toContain(ran.stdout.split('.')[1]);
    await enrol(ran.stdout.trim(), server);
    const [{ id } = { id: '' }] = (await api.allowList()).grants;
    const listed = await api.amesh(['tokens']);
    expect(listed.stdout).toMatch(
      new RegExp(`^${id} +grant +worker-\\* +.{16} UTC +1 of 2 used, 1 in the list$`, 'm'),
    );
    expect((await api.amesh(['list'])).stdout).toMatch(
      /^worker-\S+ +am_\S+ +controller \(until .{16} UTC\)/m,
    );
  });

  it.each([
    [['grant'], '--name is missing'],
    [['grant', '--name', '*-*'], '--name must have at most one *.'],
    [['grant', '--name', 'w', '--uses', '0'], '--uses must be a whole number from 1 to 100000.'],
    [['grant', '--name', 'w', '--ttl', '25h'], '--ttl must be a duration from 1s to 24h.'],
    [['grant', '--name', 'w', '--lease', '1s'], '--lease must be a duration from 1m to 365d.'],
    [
      ['grant', '--name', 'w', '--lease', '2h', '--max-lease', '1h'],
      '--max-lease must be a duration from 2h to 365d.',
    ],
  ])('%j is a usage error: %s', async (args, message) => {
    const api = await createMachine();
    await api.init('api');
    const ran = await api.amesh(args);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain(message);
    expect((await api.allowList()).grants).toEqual([]);
  });

  const hosts = (count: number, label = 'example') =>
    Array.from({ length: count }, (_, i) => `h${i}.${label}`).join(',');
  const LONG = `${'x'.repeat(60)}.`.repeat(4).slice(0, -1);

  it.each([
    ['grant', ['--host', hosts(17)], '--host: a token can have at most 16 hosts.'],
    ['provision', ['--host', hosts(17)], '--host: a token can have at most 16 hosts.'],
    ['grant', ['--host', hosts(16, LONG)], 'The names, hosts and scopes are too long for a token.'],
    ['provision', ['--host', hosts(16, LONG)], 'The names, hosts and scopes are too long for a token.'],
    ['provision', ['--relay', `wss://x.example/${'x'.repeat(4000)}`], 'are too long for a token.'],
  ])('%s: what is too much for a token is a usage error', async (command, flags, message) => {
    const api = await createMachine('api');
    const ran = await api.amesh([command, '--name', 'w', ...flags]);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([2, '', expect.stringContaining(message)]);
    expect(ran.stderr).not.toContain('bug');
    const { grants, tokens } = await api.allowList();
    expect([grants, tokens]).toEqual([[], []]);
  });

  it('more hosts of this machine than a token can have need --host', async () => {
    const api = await createMachine('api');
    for (const env of [{}, { AMESH_HOSTS: hosts(17) }] as const) {
      if (!('AMESH_HOSTS' in env)) await api.amesh(['config', 'hosts', hosts(17)]);
      const ran = await api.amesh(['grant', '--name', 'w'], { env });
      expect([ran.code, ran.stdout]).toEqual([2, '']);
      expect(ran.stderr).toContain('✗ This machine has 17 hosts, and a token can have at most 16.\n');
      expect(ran.stderr).toContain('Choose those by which callers reach it: --host a,b\n');
      expect((await api.amesh(['grant', '--name', 'w', '--host', 'h1.example'], { env })).code).toBe(0);
    }
  });
});

describe('amesh deny', () => {
  it('says that a caller that came with an open grant can get the scope again', async () => {
    const { api, server } = await createTarget();
    const { token, id } = objectOf(await api.amesh([...GRANT, '--scope', 'jobs:*', '--json']));
    await enrol(String(token), server);
    const { deviceId = '' } = (await api.allowList()).devices[0] ?? {};
    await api.amesh(['allow', deviceId, 'more']);
    const own = await api.amesh(['deny', deviceId, 'more']);
    expect([own.code, own.stderr]).toEqual([0, expect.not.stringContaining('grant')]);
    const ran = await api.amesh(['deny', deviceId, 'jobs:*']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('! It enrolled by a grant, which gives jobs:* and is open until ');
    expect(ran.stderr).toContain(`amesh tokens cancel ${id}\n`);
    await api.amesh(['allow', deviceId, 'jobs:*']);
    await api.amesh(['tokens', 'cancel', String(id)]);
    expect((await api.amesh(['deny', deviceId, '*'])).stderr).not.toContain('grant');
  });
});

describe('amesh revoke', () => {
  it('says that a caller that came with an open grant can come back', async () => {
    const { api, server } = await createTarget();
    const { token, id } = objectOf(await api.amesh([...GRANT, '--json']));
    await enrol(String(token), server);
    const [worker] = (await api.allowList()).devices;
    const ran = await api.amesh(['revoke', '--yes', worker?.deviceId ?? '']);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('! A grant added it, and is open for');
    expect(ran.stderr).toContain(`amesh revoke --grant ${id}\n`);
    expect(ran.stderr).toContain(`amesh tokens cancel ${id}\n`);
  });

  it('--grant ends the grant, and removes everybody who came with it', async () => {
    const { api, server } = await createTarget();
    const { token, id } = objectOf(await api.amesh([...GRANT, '--json']));
    await enrol(String(token), server);
    await enrol(String(token), server);
    const ran = await api.amesh(['revoke', '--yes', '--grant', String(id)]);
    expect(ran.code).toBe(0);
    expect(ran.stderr).toContain('✓ Revoked the grant and 2 callers that it added.');
    expect(await api.allowList()).toMatchObject({ devices: [], grants: [], tombstones: [{}, {}] });
    const again = await api.amesh(['revoke', '--yes', '--grant', String(id)]);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('has no token or grant')]);
    expect((await api.amesh(['revoke', 'x', '--grant', 'y'])).code).toBe(2);
  });
});

describe('amesh tokens', () => {
  it('lists pending and used tokens, and cancels them', async () => {
    const { api, server } = await createTarget();
    const empty = await api.amesh(['tokens']);
    expect([empty.code, empty.stdout]).toEqual([0, '']);
    const pending = objectOf(await api.amesh(['provision', '--name', 'prod', '--json']));
    const grant = objectOf(await api.amesh([...GRANT, '--json']));
    const listed = await api.amesh(['tokens']);
    expect(listed.stdout).toMatch(
      new RegExp(`^${pending.id} +provision +prod +.* +provisioned, not seen$`, 'm'),
    );
    expect((await api.amesh(['tokens', '--json'])).stdout).not.toContain('secret');

    const cancelled = await api.amesh(['tokens', 'cancel', String(pending.id)]);
    expect([cancelled.code, cancelled.stderr]).toEqual([0, expect.stringContaining('✓ Cancelled.')]);
    expect((await api.amesh(['tokens'])).stdout).toMatch(new RegExp(`^${pending.id} .* cancelled$`, 'm'));
    expect((await api.amesh(['list'])).stdout).not.toContain('provisioned');

    const worker = await enrol(String(grant.token), server);
    const closed = await api.amesh(['tokens', 'cancel', String(grant.id)]);
    expect(closed.stderr).toContain(
      '✓ Closed. No more callers can enrol with this grant.\n! One caller enrolled with it',
    );
    expect((await createAmesh({ dir: worker.dir, env: {} }).fetch(server.origin)).status).toBe(200);
    const late = await createMachine();
    const amesh = createAmesh({ dir: late.dir, env: { AMESH_BOOTSTRAP_TOKEN: String(grant.token) } });
    await expect(amesh.fetch(server.origin)).rejects.toMatchObject({ code: 'grant_expired' });
    expect((await worker.amesh(['tokens'])).stdout).toMatch(
      new RegExp(`^${grant.id} +grant +- +- +from api \\(am_.{16}\\), taken here `, 'm'),
    );
  });

  it('accepts a name instead of an ID, and asks for the ID if several have the name', async () => {
    const api = await createMachine();
    await api.init('api');
    const first = objectOf(await api.amesh(['provision', '--name', 'prod', '--json']));
    expect((await api.amesh(['tokens', 'cancel', 'prod'])).code).toBe(0);
    const second = objectOf(await api.amesh(['provision', '--name', 'prod', '--json']));
    // The first can be taken no more, so it is not the one that is meant.
    expect(objectOf(await api.amesh(['tokens', 'cancel', 'prod', '--json']))).toMatchObject({
      cancelled: second.id,
    });
    expect(first.id).not.toBe(second.id);
    for (let i = 0; i < 2; i++) await api.amesh([...GRANT]);
    for (const args of [
      ['tokens', 'cancel', 'worker-*'],
      ['revoke', '--yes', '--grant', 'worker-*'],
    ]) {
      const ran = await api.amesh(args);
      expect([ran.code, ran.stderr]).toEqual([
        2,
        `✗ 2 tokens or grants are called "worker-*".\n  Use the ID: ${api.here('amesh tokens')}\n  No changes were made.\n`,
      ]);
    }
    expect((await api.allowList()).grants).toHaveLength(2);
  });

  it('cancels nothing that does not exist', async () => {
    const api = await createMachine();
    await api.init('api');
    const ran = await api.amesh(['tokens', 'cancel', 'nothing']);
    expect([ran.code, ran.stderr]).toEqual([
      1,
      expect.stringContaining('This machine has no token or grant'),
    ]);
  });
});
