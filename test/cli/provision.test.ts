import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { createAmesh } from '@authmesh/sdk';
import { openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';
import { startRelay } from '../relay/client';
import { BIN, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
const now = () => Math.floor(Date.now() / 1000);

describe('amesh provision', () => {
  it('prints only the token on stdout, everything else on stderr, and records it as pending', async () => {
    const laptop = await createMachine();
    const { deviceId, publicKey } = await laptop.init('laptop');
    const ran = await laptop.amesh(['provision', '--name', 'prod-server', '--host', 'API.example.com:443']);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^eyJ[\w-]+\.[\w-]+\.[\w-]{86}\n$/);
    expect(ran.stderr).toMatch(
      /^✓ A token for "prod-server", valid for 1h \(until .{16} UTC\) and for one machine\.\n/,
    );
    expect(ran.stderr).not.toContain(ran.stdout.split('.')[1]);

    const token = ran.stdout.trim();
    expect(Buffer.from(token.split('.')[0] as string, 'base64url').toString()).toBe(
      '{"alg":"ES256","typ":"amesh-provision+jwt"}',
    );
    const claims = claimsOf(token);
    expect(claims).toEqual({
      iss: deviceId,
      key: publicKey,
      name: 'laptop',
      hosts: ['api.example.com'],
      iat: expect.any(Number),
      exp: claims.iat + 3600,
      jti: expect.stringMatching(/^[\w-]{22}$/),
      target: 'prod-server',
      secret: expect.stringMatching(/^[\w-]{43}$/),
    });
    expect((await laptop.allowList()).tokens).toEqual([
      {
        kind: 'issued',
        id: claims.jti,
        friendlyName: 'prod-server',
        hosts: ['api.example.com'],
        secret: claims.secret,
        issuedAt: claims.iat,
        expiresAt: claims.exp,
        takenBy: null,
        cancelledAt: null,
      },
    ]);

    const listed = await laptop.amesh(['list']);
    expect(listed.stdout).toMatch(
      new RegExp(
        `^prod-server +token ${claims.jti} +target \\(provisioned, not seen\\) +api.example.com`,
        'm',
      ),
    );
    const { provisioned } = objectOf(await laptop.amesh(['list', '--json']));
    expect(provisioned).toMatchObject([{ friendlyName: 'prod-server', id: claims.jti }]);
    expect(JSON.stringify(provisioned)).not.toContain(claims.secret);

    const { trust } = await openDevice(laptop.dir, {});
    await trust.update((draft) =>
      draft.change({
        tokens: draft.head.tokens.map((entry) => ({
          ...entry,
          issuedAt: now() - 120,
          expiresAt: now() - 60,
        })),
      }),
    );
    expect((await laptop.amesh(['list'])).stdout).toContain('target (provisioned, not seen, expired)');
  });

  it('says the same with --json, on one line', async () => {
    const laptop = await createMachine();
    await laptop.init('laptop');
    const ran = await laptop.amesh([
      ...['provision', '--name', 'x', '--ttl', '90s', '--relay', 'wss://relay.example/ws', '--json'],
    ]);
    const { token, ...rest } = objectOf(ran);
    expect(rest).toMatchObject({ ok: true, friendlyName: 'x', hosts: [] });
    const claims = claimsOf(String(token));
    expect(claims).toMatchObject({ relay: 'wss://relay.example/ws' });
    expect(claims.exp - now()).toBeLessThanOrEqual(90);
    expect(ran.stderr).toBe('');
  });

  it.each([
    [['provision'], '--name is missing'],
    [['provision', '--name', 'x', '--ttl', '25h'], '--ttl must be a duration from 1s to 24h.'],
    [['provision', '--name', 'x', '--ttl', '1'], '--ttl must be a duration from 1s to 24h.'],
    [['provision', '--name', 'x', '--host', 'http://x'], '--host: "http://x" is not a host'],
    [['provision', '--name', 'x', '--relay', 'http://x'], '--relay: The URL of a relay must begin with'],
  ])('%j is a usage error: %s', async (args, message) => {
    const laptop = await createMachine();
    await laptop.init('laptop');
    const ran = await laptop.amesh(args);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain(message);
    expect((await laptop.allowList()).tokens).toEqual([]);
  });

  it('refuses a host that already belongs to a target', async () => {
    const [laptop, prod] = [await createMachine(), await createMachine()];
    await laptop.init('laptop');
    const { publicKey } = await prod.init('prod');
    const line = `amesh-p256 ${publicKey} prod`;
    await laptop.amesh(['trust', 'add', '--role', 'target', '--host', 'api.example.com', line]);
    const ran = await laptop.amesh(['provision', '--name', 'x', '--host', 'api.example.com']);
    expect([ran.code, ran.stdout]).toEqual([1, '']);
    expect(ran.stderr).toContain('✗ api.example.com already belongs to "prod".');
    expect(ran.stderr).toContain('No changes were made.');
  });

  it('needs an identity', async () => {
    const ran = await (await createMachine()).amesh(['provision', '--name', 'x']);
    expect([ran.code, ran.stdout]).toEqual([10, '']);
  });
});

describe('amesh provision --wait', () => {
  it('says that the token is valid if there is no relay, and not that nothing has changed', async () => {
    const laptop = await createMachine();
    await laptop.init('laptop');
    const ran = await laptop.amesh([
      ...['provision', '--name', 'prod', '--wait', '--relay', 'ws://127.0.0.1:1/ws'],
    ]);
    expect([ran.code, ran.stdout]).toEqual([3, expect.stringMatching(/^eyJ.*\n$/)]);
    expect(ran.stderr).toContain('✗ The relay at ws://127.0.0.1:1/ws did not respond (ECONNREFUSED).');
    expect(ran.stderr).toContain(
      `The token is still valid. The machine's first response confirms it, too: ${laptop.here('amesh list')}\n`,
    );
    expect(ran.stderr).not.toContain('No changes were made');
    expect((await laptop.allowList()).tokens).toMatchObject([{ friendlyName: 'prod', cancelledAt: null }]);
  });

  it('prints the token first, and the machine once it has taken it', async () => {
    const { relay, port } = await startRelay();
    const [laptop, server] = [await createMachine(), await createMachine()];
    await laptop.init('laptop');
    const args = ['provision', '--name', 'prod', '--relay', `ws://127.0.0.1:${port}/ws`, '--wait'];
    const child = spawn(process.execPath, [BIN, ...args], { env: laptop.env() });
    const stderr = text(child.stderr);
    const token = String((await once(child.stdout, 'data'))[0]).trim();
    const amesh = createAmesh({ dir: server.dir, env: { AMESH_BOOTSTRAP_TOKEN: token } });
    expect(await amesh.bootstrapIfNeeded()).toBe(true);
    const [code] = await once(child, 'close');
    const { deviceId } = await amesh.identity();
    expect(await stderr).toContain(`✓ "prod" (${deviceId}) took the token.`);
    expect(code).toBe(0);
    expect((await laptop.allowList()).devices).toMatchObject([{ deviceId, roles: ['target'] }]);
    expect((await laptop.amesh(['tokens'])).stdout).toContain(`used by prod (${deviceId})`);
    for (const [name, word] of [
      ['prod', 'prod'],
      ['PROD', deviceId],
    ] as const) {
      const { publicKey } = await (await createMachine()).init(name);
      const late = await laptop.amesh(['tokens', 'cancel', 'prod']);
      expect(late.stderr).toContain(`To revoke its machine: ${laptop.here(`amesh revoke ${word}`)}\n`);
      await laptop.amesh(['trust', 'add', '--role', 'controller', `amesh-p256 ${publicKey} PROD`]);
    }
    await relay.close();
  });
});
