import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAmesh } from '@authmesh/sdk';
import { describe, expect, it } from 'vitest';
import { describeWithTpm, startSwtpm } from '../support/swtpm';
import { Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

/** What a server in this process answers to a caller. */
async function call(
  server: { dir: string; env: Record<string, string> },
  caller: Machine,
  targetKey: string,
) {
  const http = createServer().listen(0, '127.0.0.1');
  await once(http, 'listening');
  const host = `127.0.0.1:${(http.address() as AddressInfo).port}`;
  const verify = createAmesh({ ...server, hosts: [host] }).verify();
  http.on('request', (request, response) =>
    verify(request as never, response as never, () => response.end('ok')),
  );
  await caller.amesh([
    'trust',
    'add',
    '--role',
    'target',
    '--host',
    host,
    `amesh-p256 ${targetKey} server`,
    '--yes',
  ]);
  // Where proofs are asked for, the caller has to be told the new key first.
  const asking = createAmesh({ dir: caller.dir, env: {} }).fetch(`http://${host}/`);
  await expect(asking).rejects.toMatchObject({ code: 'answer_unproven', status: 200 });
  const amesh = createAmesh({ dir: caller.dir, env: {}, answers: 'off' });
  const response = await amesh.fetch(`http://${host}/`);
  http.close();
  http.closeAllConnections();
  return `${response.status} ${await response.text()}`;
}

describeWithTpm('a server whose TPM is cleared', () => {
  it('continues with the second key, and no caller pairs again', async () => {
    const tpm = await startSwtpm();
    try {
      const env = { AMESH_TPM: tpm.address };
      const [server, caller] = [await createMachine(), await createMachine('caller')];
      const made = await server.amesh(
        ['init', '--name', 'server', '--host', 'api.example', '--backend', 'tpm2'],
        { env },
      );
      expect(made.stderr).toContain('! The key is lost if the TPM is cleared or replaced');
      const { publicKey, deviceId } = objectOf(await server.amesh(['whoami', '--json'], { env }));
      const lineOf = async (machine: Machine) =>
        (await machine.amesh(['trust', 'export'], { env })).stdout.trim();
      await server.amesh(['trust', 'add', '--role', 'controller', await lineOf(caller)], { env });
      const next = objectOf(await server.amesh(['init', '--next', '--name', 'next', '--json'], { env }));
      expect(next).toMatchObject({ dir: `${server.dir}-next`, owners: `${publicKey},${next.publicKey}` });

      await tpm.run('tpm2_clear');
      const lost = await server.amesh(['list', '--json'], { env });
      expect(objectOf(lost)).toMatchObject({
        error: { code: 'key_lost', hint: expect.stringContaining('second key (amesh init --next)') },
      });
      const refused = await server.amesh(['config', 'hosts', '--add', 'b.example', '--json'], { env });
      expect(objectOf(refused)).toMatchObject({ error: { code: 'key_lost' } });
      const exported = await server.amesh(['list', '--export'], { env });
      expect(exported.code).toBe(0);
      await writeFile(`${server.dir}.txt`, exported.stdout);

      const heir = new Machine(`${server.dir}-next`);
      const both = { AMESH_OWNER_KEY: next.owners as string };
      const taken = await heir.amesh(['trust', 'take-over', `${server.dir}.txt`, '--yes'], { env: both });
      expect(taken).toMatchObject({ code: 0 });
      const now = { AMESH_OWNER_KEY: next.publicKey as string, AMESH_DEVICE_ID: deviceId as string };
      expect(await call({ dir: heir.dir, env: now }, caller, publicKey as string)).toBe('200 ok');
      expect((await heir.amesh(['list'], { env: now })).stdout).toContain('caller');
    } finally {
      await tpm.remove();
    }
  });
});

describe('amesh init --next', () => {
  it('makes an identity in a folder next to the first one, which stays unchanged', async () => {
    const machine = await createMachine('api');
    const before = (await machine.amesh(['whoami'])).stdout;
    const made = await machine.amesh(['init', '--next', '--name', 'api-next']);
    expect(made.code).toBe(0);
    expect(made.stderr).toMatch(/! Anybody with this folder can take over the list of am_/);
    expect((await machine.amesh(['whoami'])).stdout).toBe(before);
    expect((await new Machine(`${machine.dir}-next`).amesh(['whoami'])).stdout).toContain('api-next');
    const again = await machine.amesh(['init', '--next', '--name', 'api-next', '--json']);
    expect(objectOf(again)).toMatchObject({ error: { code: 'identity_exists' } });
  });

  it('needs a first key, and refuses flags that have no meaning for it', async () => {
    const empty = await createMachine();
    expect((await empty.amesh(['init', '--next', '--name', 'a'])).stderr).toContain(
      'There is no amesh identity',
    );
    const machine = await createMachine('api');
    for (const flag of [
      ['--host', 'a.example'],
      ['--force'],
      ['--public-key', 'x'],
      ['--key', 'x'],
      ['--socket', '/x'],
    ]) {
      const refused = await machine.amesh(['init', '--next', '--name', 'a', ...flag]);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toContain(`${flag[0]} and --next cannot be combined.`);
    }
  });
});
