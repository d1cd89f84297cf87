import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, type Device, issueGrant, issueProvision, openDevice } from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Child, type Script, toScript } from '../support/child';
import { createEnrolling, type Enrolling } from '../support/enrolling';
import { expectNone, filesBelow, processTable, secretsOf } from '../support/leaks';
import { requireRuntime } from '../support/runtime-server';
import type { Runtime } from '../support/runtimes';
import { swapPart } from '../support/tokens';

let script: Script;
let root: string;
let issuerDir: string;
let issuer: Device;
let enrolling: Enrolling;
const running: Child[] = [];
beforeAll(async () => {
  script = await toScript('test/bootstrap/processes/witness.ts');
});
afterAll(() => script.remove());
beforeEach(async () => {
  vi.spyOn(console, 'warn').mockImplementation(() => {}); // of the targets in this process
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  issuerDir = join(root, 'issuer');
  await createIdentity(issuerDir, {}, { friendlyName: 'laptop' });
  issuer = await openDevice(issuerDir, {});
  enrolling = await createEnrolling();
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    child.kill('SIGKILL');
    await child.ended;
  }
  vi.restoreAllMocks();
  await enrolling.remove();
  await rm(root, { recursive: true, maxRetries: 10 });
});

function start(mode: 'serve' | 'call', dir: string, token: string): Child {
  const env = {
    AUTH_MESH_DIR: dir,
    AMESH_BOOTSTRAP_TOKEN: token,
    DEBUG: 'amesh',
    PATH: process.env.PATH ?? '',
  };
  const child = script.start([mode], { env });
  running.push(child);
  return child;
}

/** All that can be seen of a machine from outside, and from the programs that it starts. */
async function traces(child: Child, dir: string): Promise<string> {
  child.tell('look');
  const seen = await child.line('seen ');
  expect(JSON.parse(seen)).toMatchObject({ child: expect.stringContaining('DEBUG=amesh') }); // it was let look
  return [child.lines.join('\n'), child.stderr(), await processTable(), await filesBelow(dir)].join('\n');
}

for (const name of ['bun', 'deno'] as const) {
  const runtime = await requireRuntime(name);
  it.skipIf(runtime === null)(
    `a token is taken on ${name}, and removed from its environment`,
    async () => {
      const bundle = await toScript('test/bootstrap/processes/taker.ts');
      const { token } = await issueProvision(issuer, { friendlyName: 'prod-server' });
      const env = {
        PATH: process.env.PATH,
        HOME: root,
        AUTH_MESH_DIR: join(root, 'home'),
        AMESH_BOOTSTRAP_TOKEN: token,
      };
      for (const wasTaken of [true, false]) {
        const { stdout, stderr } = await (runtime as Runtime).run(bundle.path, [], env);
        expect(JSON.parse(stdout)).toMatchObject({
          wasTaken,
          friendlyName: 'prod-server',
          child: expect.stringContaining('AUTH_MESH_DIR'),
        });
        expectNone(stdout + stderr, await secretsOf(token));
      }
      bundle.remove();
    },
    60_000,
  );
}

describe.skipIf(process.platform !== 'linux')('a token shows nowhere', () => {
  it('of a server that has taken it', async () => {
    const { token } = await issueProvision(issuer, { friendlyName: 'prod-server' });
    const dir = join(root, 'home');
    const child = start('serve', dir, token);
    const origin = `http://127.0.0.1:${await child.line('port ')}`;
    const answer = await createAmesh({ dir: issuerDir, env: {} }).fetch(origin);
    expect(answer.status).toBe(200);
    await fetch(origin); // refused, which DEBUG=amesh prints
    const shown = [await traces(child, dir), JSON.stringify([...answer.headers])].join('\n');
    expect(child.stderr()).toContain('missing_header');
    expectNone(shown, await secretsOf(token));
  });

  it('of a server that refuses it', async () => {
    const { token } = await issueProvision(issuer, { friendlyName: 'prod-server' });
    const wrong = swapPart(token, 1, (claims) => ({ ...claims, target: 'other' }));
    const dir = join(root, 'home');
    const child = start('serve', dir, wrong);
    const origin = `http://127.0.0.1:${await child.line('port ')}`;
    const answer = await createAmesh({ dir: issuerDir, env: {} }).fetch(origin);
    expect([answer.status, await answer.json()]).toEqual([503, { error: 'allow_list_unavailable' }]);
    expect(child.stderr()).toContain('token_invalid_signature');
    await createIdentity(dir, {}, { friendlyName: 'x' }); // only that there is a folder to look at
    const shown = await traces(child, dir);
    expectNone(shown, [...wrong.split('.').slice(1), ...(await secretsOf(token))]);
  });

  it('of a caller, whether it is accepted or not', async () => {
    const [closed, open] = [await enrolling.target({}), await enrolling.target()];
    for (const [target, outcome] of [
      [closed, /answer_unproven/],
      [open, /^200$/],
    ] as const) {
      const { token } = await target.grant({ hosts: [target.authority] });
      const dir = join(root, target === open ? 'b' : 'a');
      const child = start('call', dir, token);
      child.tell(`fetch ${target.origin}`);
      expect(await child.line('status ')).toMatch(outcome);
      const shown = [await traces(child, dir), ...target.captured, JSON.stringify(target.refusals)].join(
        '\n',
      );
      expectNone(shown, await secretsOf(token));
    }
  });

  it('of a grant in the files of its issuer', async () => {
    const grant = { names: 'x', uses: 1, leaseSeconds: 60, maxLeaseSeconds: 60 };
    const { token } = await issueGrant(issuer, grant);
    expectNone(await filesBelow(issuerDir), await secretsOf(token));
  });
});
