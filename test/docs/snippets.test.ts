import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { openDevice } from '@authmesh/sdk/admin';
import { createVerifier, InMemoryNonceStore, signRequest } from '@authmesh/sdk/core';
import { transform } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCredentials } from '../../src/core/verify/read';
import { createSignatureBase, requiredComponents, signatureParameters } from '../../src/core/wire/base';
import type { Credentials } from '../../src/core/wire/credentials';
import { type RequestLine, readRequestLine } from '../../src/core/wire/line';
import { openHead } from '../../src/trust/format/head';
import { ensureBuilt } from '../support/built';
import { toEvent } from '../support/lambda';
import { isAbsent, languageOf } from '../support/languages';
import { exchange, head } from '../support/raw-http';
import { hasTerminal, pairOnTerminals } from '../support/terminal';
import { vectorAllowList, vectors } from '../support/vectors';
import { APP_AFTER, APP_BEFORE, type Block, blocksOf, inOrder, pages } from './blocks';
import { Project, Sandbox } from './sandbox';

/** The only blocks that are not run here: what they say, and why. */
const NOT_RUN: readonly string[] = [
  'CONTRIBUTING.md: installs packages and runs the suite',
  'README.md: needs the package registry',
  'README.md: installs packages and runs the suite',
  'docs/delegates.md: run by test/delegates/delegate.test.ts',
  'docs/delegates.md: needs a container runtime',
  'docs/delegates.md: needs a CI service',
  'docs/fastify.md: needs the package registry',
  'docs/frameworks.md: run by scripts/check-toolchains.mjs',
  'docs/frameworks.md: run by scripts/check-frameworks.mjs',
  'docs/guide.md: needs the package registry',
  'docs/hono.md: needs the package registry',
  'docs/keys.md: needs a keychain',
  'docs/keys.md: needs GNOME Keyring',
  'docs/keys.md: needs an agent',
  'docs/keys.md: needs a TPM',
  'docs/keys.md: needs a Mac',
  'docs/keys.md: run by test/cli/next-key.test.ts',
  'docs/keys.md: needs a target that runs',
  'docs/keys.md: needs a target whose instances only verify',
  'docs/keys.md: run by test/cli/rotate-shared.test.ts',
  'docs/keys.md: run by test/keys/external.test.ts',
  'docs/keys.md: needs Node 24.21 and a PKCS#11 provider',
  'docs/lambda.md: needs an account with AWS',
  'docs/loaders.md: run by scripts/check-toolchains.mjs',
  'docs/mcp.md: needs an agent',
  'docs/pairing.md: needs two machines and a person',
  'docs/production.md: needs the package registry',
  'docs/production.md: needs a Redis',
  'docs/production.md: needs a fleet',
  'docs/production.md: needs cron and a store of secrets',
  'docs/production.md: run by test/cli/take-over.test.ts',
  'docs/production.md: run by test/cli/moved-fleet.test.ts',
  'docs/production.md: run by test/proxy/nginx.test.ts',
  'docs/production.md: run by test/proxy/apache.test.ts',
  'docs/production.md: needs a container runtime',
  'docs/production.md: needs a cluster',
  'docs/provisioning.md: needs systemd',
  'docs/provisioning.md: needs a container runtime',
  'docs/provisioning.md: needs Kubernetes',
  'docs/provisioning.md: needs a CI service',
  'docs/proxy.md: run by test/cli/proxy-chain.test.ts',
  'docs/proxy.md: runs until it is stopped',
  'docs/proxy.md: needs a proxy that runs',
  'docs/proxy.md: needs systemd',
  'docs/proxy.md: needs a container runtime',
  'docs/self-hosting.md: needs the package registry',
  'docs/self-hosting.md: run by test/relay/self-hosting.test.ts',
  'docs/testing.md: run by scripts/check-testing.mjs',
  'docs/upkeep.md: needs the package registry',
  'docs/upkeep.md: needs a Redis',
  'docs/workers.md: needs the package registry',
  'docs/workers.md: needs an account with Cloudflare',
  'docs/workers.md: needs wrangler',
];

let project: Project;
beforeAll(async () => {
  await ensureBuilt();
  project = await Project.create();
}, 180_000);
afterAll(() => project?.remove());

const all = pages.flatMap((page) => blocksOf(page));
const at = ({ page, line }: Block) => `${page}:${line}`;
const fileOf = ({ page, line }: Block, extension: string) =>
  `${page.replace(/\W/g, '-')}-${line}.${extension}`;

it('skips no block but the listed ones', () => {
  const left = all.filter((block) => block.noRun !== undefined);
  expect([...new Set(left.map((block) => `${block.page}: ${block.noRun}`))]).toEqual(NOT_RUN);
});

/** Commands of the blocks that a machine may not have. A terminal is played by util-linux's `script`. */
const TOOLS = ['openssl', 'curl'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);

/** What is not here and this block needs; in CI everything is, so that what is missing there fails. */
function missingTool({ language, kind, text }: Block): string | undefined {
  if (process.env.CI === 'true') return undefined;
  if (kind === 'target-screen') return hasTerminal ? undefined : 'script';
  return language === 'sh'
    ? TOOLS.find((tool) => new RegExp(`(?:^|[\\s|(])${tool}\\s`, 'm').test(text))
    : undefined;
}

/** Pages whose code is for the Web platform. */
const WEB: readonly string[] = ['docs/hono.md', 'docs/interop.md', 'docs/workers.md'];
// Hono's types take that for granted on every page.
const isForWeb = ({ page, text }: Block) => WEB.includes(page) || text.includes("from 'hono");

it.each([false, true])(
  'type-checks every TypeScript block (for the Web: %s)',
  async (isWeb) => {
    const programs = all.filter((block) => block.language === 'ts' && isForWeb(block) === isWeb);
    const paths = await Promise.all(
      programs.map((block) => project.write(fileOf(block, 'mts'), `${wrapped(block)}\nexport {};\n`)),
    );
    expect(await project.typeErrors(paths, isWeb)).toEqual([]);
  },
  300_000,
);

describe.each(pages.filter((page) => blocksOf(page).some((block) => block.noRun === undefined)))(
  '%s',
  (page) => {
    const blocks = inOrder(blocksOf(page));
    // A page that shows how to begin begins with nothing; on the others the machines know each other already.
    const begins = blocks.some(
      ({ language, kind, text }) => language === 'sh' && kind !== 'here' && text.includes('amesh init'),
    );
    // What stands below one that cannot run builds on it.
    const stopsAt = blocks.findIndex(
      (block) => block.noRun === undefined && missingTool(block) !== undefined,
    );
    let sandbox: Sandbox;
    beforeAll(async () => {
      sandbox = await Sandbox.create(project, { paired: !begins });
    });
    afterAll(() => sandbox?.remove());

    blocks.forEach((block, index) => {
      if (block.noRun !== undefined) return;
      const previous = blocks[index - 1];
      const next = blocks[index + 1];
      // Needed for the block itself, or for the one whose answer it shows.
      const language = languageOf(block.language) ?? (previous && languageOf(previous.language));
      const absent = language !== undefined && isAbsent(language) ? language.needs : undefined;
      it(`line ${block.line}: ${block.language} ${block.kind}`, (context) => {
        if (absent !== undefined) context.skip(`There is no ${absent} here.`);
        const stop = stopsAt === -1 || index < stopsAt ? undefined : (blocks[stopsAt] as Block);
        if (stop !== undefined)
          context.skip(`There is no ${missingTool(stop)} here, which line ${stop.line} needs.`);
        return check(block, previous, next);
      });
    });

    const output = new Map<Block, string>();

    async function check(block: Block, previous: Block | undefined, next: Block | undefined): Promise<void> {
      const { language, kind, text } = block;
      switch (`${language} ${kind}`) {
        case 'ts server':
          return sandbox.serve(await compile(block, ''));
        case 'ts bun':
        case 'ts deno':
          return sandbox.serve(await compile(block, ''), kind as 'bun');
        case 'ts worker':
          return sandbox.serveWorker(await compile(block, ''));
        case 'ts app':
          await sandbox.serve(await compile(block, ''));
          expect(await callAs(block)).toBe(200);
          return;
        case 'ts h2':
          await sandbox.serve(await compile(block, ''));
          expect(await callHttp2()).toBe(200);
          return;
        case 'ts lambda':
          ran(block, await sandbox.run(process.execPath, [await compile(block, callOfHandler())], 'target'));
          return expect(output.get(block)).toBe('200\n');
        case 'ts client':
        case 'ts program': {
          // What the reader would look at next: the answer that the block has got.
          const look = next?.language === 'json' ? '\nconsole.log(res.status, await res.text());\n' : '';
          return ran(block, await sandbox.runNode(await compile(block, look)));
        }
        case 'python client':
        case 'go client': {
          const [command, ...args] = languageOf(language)?.command ?? [''];
          const path = await project.write(fileOf(block, language), await sandbox.toReal(text));
          return ran(block, await sandbox.run(command, [...args, path], 'controller', 100_000));
        }
        case 'sh target':
        case 'sh controller':
        case 'sh here': {
          const script = `exec 2>&1\n${await sandbox.toReal(text)}`; // in one stream, so that the order is the terminal's
          return ran(block, await sandbox.run('bash', ['-euo', 'pipefail', '-c', script], kind as 'here'));
        }
        case 'text output':
          expect(normal(text)).toBe(normal(output.get(previous as Block) ?? `nothing before ${at(block)}`));
          return;
        case 'json response':
          expect(normal(`200 ${JSON.stringify(JSON.parse(text))}`)).toBe(
            normal(output.get(previous as Block) ?? ''),
          );
          return;
        case 'text target-screen':
          return pair(block, next);
        case 'text controller-screen':
          return expect(normal(output.get(previous as Block) ?? '')).toBe(normal(text));
        case 'text log':
          await expect.poll(() => normal(sandbox.log), { timeout: 5000 }).toContain(normal(text));
          return;
        case 'http accept':
          return expect(await verdictOf(block)).toEqual({ ok: true });
        case 'text base':
          return expect(text).toBe(`${baseOf(previous as Block)}\n`);
        case 'http response':
          return checkRefusal(text);
        case 'json allow-list': {
          const sealed = new TextEncoder().encode(`${JSON.stringify(JSON.parse(text))}\n`);
          const { publicKey, deviceId } = vectors.devices.target;
          const { head } = await openHead(sealed, [Buffer.from(publicKey, 'base64url')], deviceId);
          expect(head.list).toBe(deviceId);
          return;
        }
        default:
          throw new Error(`${at(block)}: nothing checks this block.`);
      }
    }

    /** Two people do at two terminals what the blocks say. */
    async function pair(block: Block, next: Block | undefined): Promise<void> {
      const [typed = '', ...seen] = block.text.split('\n');
      const words = (await sandbox.toReal(typed)).slice(2).split(' ');
      // The port of the document is another's here, perhaps.
      const meet = words.includes('--serve') ? ['--port', '0'] : ['--relay', await sandbox.relay()];
      const target = sandbox.terminal([...words, ...meet], 'target');
      // A target without a host asks for one.
      if (!words.includes('--host')) {
        await target.until(/Enter: localhost only\) /);
        target.type('\r');
      }
      let invite = '';
      const controller = await pairOnTerminals(target, (command) => {
        invite = command;
        return sandbox.terminal(command.split(' '), 'controller');
      });
      expect([await target.ended, await controller.ended]).toEqual([0, 0]);
      expect(normal(sandbox.toDoc(target.screen).replace(/^\? Under which host.*\n/, ''))).toBe(
        normal(seen.join('\n')),
      );
      output.set(block, `$ ${invite}\n${sandbox.toDoc(controller.screen)}`);
      expect(`${next?.language} ${next?.kind}`).toBe('text controller-screen');
    }

    function ran(block: Block, { code, output: printed }: { code: number; output: string }): void {
      output.set(block, printed);
      expect(code, printed).toBe(0);
    }

    async function compile(block: Block, end: string): Promise<string> {
      const source = await sandbox.toReal(wrapped(block) + end);
      const { code } = await transform(source, { loader: 'ts', format: 'esm', target: 'es2022' });
      return project.write(fileOf(block, 'mjs'), code);
    }

    async function controllerSigner() {
      return (await openDevice(sandbox.folder('controller'), {})).signer;
    }

    /** A signed request as it comes out of the proxy that a fragment is written for. */
    async function callAs({ options }: Block): Promise<number> {
      const own = `localhost:${sandbox.port}`;
      const url = new URL(options.sign ?? `http://${own}/api/orders`);
      const body = '{"amount":100}';
      const view = { method: 'POST', target: url.pathname, authority: url.host, body: Buffer.from(body) };
      // As JSON, so that the parser of a fragment reads it.
      const signed = await signRequest(
        { ...view, headers: { 'content-type': 'application/json' } },
        await controllerSigner(),
      );
      const headers = {
        ...signed.headers,
        host: options.host ?? own,
        ...(options.forwarded === undefined ? {} : { 'x-forwarded-host': options.forwarded }),
        'content-length': String(body.length),
      } as Record<string, string>;
      const request = httpRequest({
        port: sandbox.port,
        host: '127.0.0.1',
        method: 'POST',
        path: '/api/orders',
        headers,
      });
      request.end(body);
      const [response] = await once(request, 'response');
      response.resume();
      return response.statusCode;
    }

    /**
     * Calls a handler with the event that an HTTP API makes of a request whose path has to come back as it was sent. Signed
     * when the program is up, since a busy machine takes its time for that.
     */
    function callOfHandler(): string {
      const path = '/orders/a%40b%2Fc';
      const headers = { 'content-type': 'application/json', 'authmesh-path': path };
      const init = { method: 'POST', headers, body: '{"amount":100}' };
      const lines = [['host', 'api.example.com']] as const;
      const event = toEvent({ ...init, target: path, headers: lines }, 'HTTP API 2.0');
      return `
const event = ${JSON.stringify(event)};
const { createAmesh: create } = await import('@authmesh/sdk');
const caller = create({ dir: ${JSON.stringify(sandbox.folder('controller'))}, env: {}, fetch: async (_, { headers }) => {
  Object.assign(event.headers, Object.fromEntries(new Headers(headers)));
  return new Response();
} });
await caller.fetch('https://api.example.com${path}', ${JSON.stringify(init)});
console.log((await handler(event, {})).statusCode);
process.exit();
`;
    }

    async function callHttp2(): Promise<number> {
      const authority = `localhost:${sandbox.port}`;
      const view = {
        method: 'POST',
        target: '/api/orders',
        authority,
        headers: {},
        body: Buffer.from('hello'),
      };
      const { headers } = await signRequest(view, await controllerSigner());
      const session = connectHttp2(`http://${authority}`);
      const stream = session.request({ ':method': 'POST', ':path': view.target, ...headers });
      stream.end(view.body);
      const [answer] = await once(stream, 'response');
      stream.resume();
      session.close();
      await once(session, 'close'); // or the end of the server would be an error of it that nobody hears
      return answer[':status'];
    }

    async function checkRefusal(text: string): Promise<void> {
      if (!sandbox.serving) await sandbox.serve(await compile(DEFAULT_APP, ''));
      const lines = ['Host: localhost:3000', 'Connection: close', 'Content-Length: 2'];
      const got = await exchange(
        sandbox.port,
        await sandbox.toReal(head('POST /api/orders HTTP/1.1', lines)),
        '{}',
      );
      const [statusLine = '', ...rest] = text.trimEnd().split('\n');
      expect(statusLine).toContain(` ${got.status} `);
      const end = rest.indexOf('');
      for (const line of rest.slice(0, end)) {
        const [name = '', value] = line.split(': ');
        expect(got.headers[name.toLowerCase()], name).toBe(value);
      }
      expect(got.body).toBe(rest.slice(end + 1).join('\n'));
    }
  },
);

const DEFAULT_APP: Block = {
  page: 'default',
  line: 0,
  language: 'ts',
  kind: 'app',
  options: {},
  noRun: undefined,
  text: "app.use('/api', amesh.verify());",
};

function wrapped({ kind, text }: Block): string {
  if (kind === 'bun') return `declare const Bun: { serve(options: object): unknown };\n${text}`;
  if (kind === 'deno')
    return `declare const Deno: { serve(options: object, handler: object): unknown };\n${text}`;
  return kind === 'app' ? APP_BEFORE + text + APP_AFTER : text;
}

/** What differs from run to run, as one word each. */
function normal(text: string): string {
  return (
    text
      .replace(/am_[A-Za-z0-9_-]{16}/g, '<id>')
      .replace(/amesh-p256 [A-Za-z0-9_-]{44}/g, 'amesh-p256 <key>')
      .replace(/\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:\.\d+)?Z?)?/g, '<date>')
      .replace(/(?<=(?:cancel|--grant|--delegate) )[A-Za-z0-9_-]{22}\b/g, '<token id>')
      .replace(/\b\d{3} ?\d{3}\b/g, '<code>')
      // The relay of the sandbox has a loopback name, for which a line for other machines is printed besides.
      .replace(
        /^ +On this machine run: +(amesh invite .+)\n(?:.*amesh invite .*--relay .*\n)+/gm,
        '  On the calling machine run:   $1\n',
      )
      .replace(
        /^( +On the calling machine run) this whole line(: +amesh invite <code> --relay ws:\/\/127)/gm,
        '$1$2',
      )
      .replace(/ --relay ws:\/\/127\.0\.0\.1:\d+\/ws/g, '') // where the document means the default one
      .replace(/ws:\/\/[\w.]+:\d+\/ws/g, '<relay>')
      .replace(/[ \t]+$/gm, '')
      .trim()
  );
}

/** An HTTP/1.1 request out of a document: the last line's end is not part of its body. */
function viewOf({ text }: Block) {
  const [top = '', ...bodies] = text.split('\n\n');
  const [line = '', ...fields] = top.split('\n');
  const [method = '', target = ''] = line.split(' ');
  const headers = Object.fromEntries(
    fields.map((field) => [
      field.slice(0, field.indexOf(':')).toLowerCase(),
      field.slice(field.indexOf(':') + 1).trim(),
    ]),
  );
  const body = bodies.join('\n\n').replace(/\n$/, '');
  return { method, target, authority: headers.host ?? '', headers, body: Buffer.from(body) };
}

async function verdictOf(block: Block): Promise<{ ok: boolean; code?: string }> {
  const now = () => Number(block.options.now) * 1000;
  const verifier = createVerifier({
    allowList: vectorAllowList,
    now,
    nonceStore: new InMemoryNonceStore({ now, startedAt: now() / 1000 - 60 }),
  });
  const verdict = await verifier.verify(viewOf(block));
  return verdict.ok ? { ok: true } : { ok: false, code: verdict.code };
}

function baseOf(block: Block) {
  const view = viewOf(block);
  const credentials = readCredentials(view.headers) as Credentials;
  const covered = credentials.covered ?? requiredComponents(view.headers, credentials.form);
  const parameters = credentials.parameters ?? signatureParameters(covered, credentials);
  return createSignatureBase(readRequestLine(view) as RequestLine, view.headers, covered, parameters);
}
