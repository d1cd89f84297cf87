import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { transform } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf } from '../docs/blocks';
import { ensureBuilt } from '../support/built';
import { createCertificate } from '../support/certificate';
import { type ConnectProxy, startConnectProxy } from '../support/connect-proxy';
import { listen } from '../support/listen';

const ROOT = new URL('../../', import.meta.url).pathname;
/** A name that only the proxy can resolve. */
const HOST = 'api.corp.example';

const endings: (() => unknown)[] = [];
let env: Record<string, string>;
let proxy: ConnectProxy;

beforeAll(async () => {
  await ensureBuilt();
  const root = await mkdtemp(join(tmpdir(), 'amesh-recipe-'));
  endings.push(() => rm(root, { recursive: true, maxRetries: 20 }));
  const [caller, target] = [join(root, 'caller'), join(root, 'target')];
  const { deviceId, publicKey } = await createIdentity(caller, {}, { friendlyName: 'caller' });
  await createIdentity(target, {}, { friendlyName: 'target' });
  const { trust } = await openDevice(target, {});
  await trust.update((list) =>
    addDevice(list, { deviceId, publicKey, friendlyName: 'caller', role: 'controller', hosts: [] }, 0),
  );
  const verify = createAmesh({ dir: target, env: {}, hosts: [HOST] }).verify();
  const certificate = createCertificate(HOST);
  const api = createServer(certificate, (request, response) => {
    void verify(request, response, () => response.end(`let in ${request.method}`));
  });
  const served = await listen(api as never);
  endings.push(() => served.close());
  proxy = await startConnectProxy({ names: { [HOST]: served.port }, login: 'ann:h@rse' });
  endings.push(() => proxy.close());
  await writeFile(join(root, 'ca.pem'), certificate.cert);
  env = {
    AUTH_MESH_DIR: caller,
    NODE_EXTRA_CA_CERTS: join(root, 'ca.pem'),
    HTTPS_PROXY: `http://ann:h%40rse@127.0.0.1:${proxy.port}`,
  };
}, 180_000);
afterAll(() => Promise.all(endings.map((end) => end())));

const call = (url: string) => `
try {
  const response = await amesh.fetch('${url}', { method: 'POST', body: '{}' });
  console.log(response.status, await response.text());
} catch (error) {
  console.log(error.message, error.cause?.code);
}`;

/** What a program prints that has made an `amesh` and calls the server. */
async function run(program: string, more: Record<string, string> = {}, url = `https://${HOST}/api/orders`) {
  const { code } = await transform(program + call(url), { loader: 'ts', target: 'es2023' });
  const args = ['--input-type=module', '--eval', code];
  const child = spawn(process.execPath, args, { cwd: ROOT, env: { ...env, ...more } });
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  expect(stderr).not.toMatch(/h@rse|h%40rse/);
  return { stdout, stderr };
}

const PLAIN = `import { amesh } from '@authmesh/sdk';`;
const OWN_FETCH = `import { createAmesh } from '@authmesh/sdk';
  const amesh = createAmesh({ fetch: (input, init) => fetch(input, init) });`;
const UNREACHED = /^fetch failed (?:ENOTFOUND|EAI_AGAIN)\n$/;
const hint = () =>
  `HTTPS_PROXY sets the proxy 127.0.0.1:${proxy.port}, but the global fetch does not use it.`;

describe.concurrent('signed requests to a server that only a proxy reaches', () => {
  it.concurrent('go through it with the recipe of docs/corporate-proxy.md', async () => {
    const [recipe] = blocksOf('docs/corporate-proxy.md').filter(({ text }) =>
      text.includes('EnvHttpProxyAgent'),
    );
    const { stdout, stderr } = await run(recipe?.text as string);
    expect(stdout, stderr).toBe('200 let in POST\n');
    expect(proxy.asked).toContain(`${HOST}:443`);
  });

  it.concurrent('go through it by a global dispatcher', async () => {
    const program = `import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici';
      setGlobalDispatcher(new EnvHttpProxyAgent());`;
    expect((await run(PLAIN + program)).stdout).toBe('200 let in POST\n');
  });

  it.concurrent('fail without either, and the log names the variable and the page', async () => {
    const { stdout, stderr } = await run(PLAIN);
    expect(stdout).toMatch(UNREACHED);
    expect(stderr).toContain(hint());
    expect(stderr).toContain('docs/corporate-proxy.md');
  });

  it.concurrent('go through it with NODE_USE_ENV_PROXY=1 if this Node knows that', async () => {
    const { stdout, stderr } = await run(PLAIN, { NODE_USE_ENV_PROXY: '1' });
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    if (major >= 24 || (major === 22 && minor >= 21)) {
      expect(stdout).toBe('200 let in POST\n');
      expect(stderr).not.toContain('names the proxy');
    } else {
      expect(stdout).toMatch(UNREACHED);
      expect(stderr).toContain(hint());
    }
  });

  it.concurrent.each([
    ['NO_PROXY names the server', { NO_PROXY: HOST }],
    ['no variable is set', { HTTPS_PROXY: '' }],
    ['the server is on this machine', {}, PLAIN, 'https://127.0.0.1:1/'],
    ['the program has a fetch of its own', {}, OWN_FETCH],
  ] as const)('the log says nothing about a proxy if %s', async (_, more, program = PLAIN, url?: string) => {
    const { stdout, stderr } = await run(program, more, url);
    expect(stdout).toMatch(/^fetch failed/);
    expect(stderr).not.toContain('proxy');
  });

  it.concurrent('a variable that is wrong is reported in the log, and not thrown', async () => {
    const { stdout, stderr } = await run(PLAIN, { HTTPS_PROXY: 'socks5://ann:h%40rse@127.0.0.1:1080' });
    expect(stdout).toMatch(UNREACHED);
    expect(stderr).toContain('HTTPS_PROXY names a socks5:// proxy at 127.0.0.1:1080');
  });
});
