// Runs the programs of docs/frameworks.md, with the packed packages and each framework at an exact version: a signed request
// has to get its answer, and others a refusal. Also checks what that page says of each framework.
// Arguments: headings of the page, to run those alone; --keep leaves the folder where it is. AMESH_NODES is a folder in which
// the newer Node is installed already.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Trial } from './trial.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const pinned = (...names) => names.map((name) => `${name}@${devDependencies[name]}`);
const page = readFileSync(join(root, 'docs/frameworks.md'), 'utf8');

const HOST = 'api.example.com';
const JSON_TYPE = { 'content-type': 'application/json' };
const ORDER = '{"amount":100}';
const ORDERED = '200 {"from":"laptop","amount":100}';
const UNAUTHORIZED = '401 {"error":"unauthorized"}';

const served = ['tsx@4.23.15', 'srvx@1.0.8', ...pinned('typescript', '@types/node')];
const types = [
  'tsc --noEmit --strict --target es2023 --skipLibCheck --module nodenext --types node --allowImportingTsExtensions *.ts',
];

/** Protects a route of its own, beside the program of the page. */
const nextProxy = `import { createServerVerifier } from '@authmesh/sdk/workers';
import { type NextRequest, NextResponse } from 'next/server';

const verifier = createServerVerifier();
export async function proxy(request: NextRequest) {
  const verdict = await verifier.verify(request.clone() as Request);
  if (!verdict.ok) return verdict.response;
  const headers = new Headers(request.headers);
  headers.set('x-caller', verdict.caller.friendlyName);
  return NextResponse.next({ request: { headers } });
}
export const config = { matcher: '/api/proxied' };
`;
const nextProxied = `export async function POST(request: Request) {
  const { amount } = await request.json();
  return Response.json({ from: request.headers.get('x-caller'), amount });
}
`;
const svelteConfig = `import adapter from '@sveltejs/adapter-node';
import { sveltekit } from '@sveltejs/kit/vite';
export default { plugins: [sveltekit({ adapter: adapter() })] };
`;
const svelteProtected = `export async function POST({ request, locals }) {
  const { amount } = await request.json();
  return Response.json({ from: locals.caller.friendlyName, amount });
}
`;

/**
 * Each has the heading of its section, whose files and commands it takes; the last command is the server. `calls` are paths,
 * bodies and answers of signed requests; those with `isProtected` are also sent unsigned, and with another body than signed.
 */
const frameworks = [
  {
    name: 'Elysia',
    packages: [...served, 'elysia@1.4.30'],
    prepare: types,
    calls: [{ path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true }],
  },
  {
    name: 'GraphQL Yoga',
    packages: [...served, 'graphql-yoga@5.24.1', 'graphql@16.15.0', '@whatwg-node/server@0.11.0'],
    prepare: types,
    calls: [
      { path: '/graphql', body: '{"query":"{ from }"}', answer: '200 {"data":{"from":"laptop"}}' },
      {
        path: '/graphql',
        body: '{"query":"mutation { order(amount: 100) }"}',
        answer: '200 {"data":{"order":"100 for laptop"}}',
        isProtected: true,
      },
    ],
  },
  {
    name: 'tRPC',
    packages: [...served, '@trpc/server@11.25.2', '@trpc/client@11.25.2', 'zod@4.6.7'],
    prepare: types,
    calls: [
      {
        path: '/trpc/order',
        body: ORDER,
        answer: '200 {"result":{"data":{"from":"laptop","amount":100}}}',
        isProtected: true,
      },
    ],
    client: {
      command: 'AUTH_MESH_DIR=$CALLER_DIR tsx client.ts',
      prints: "[ 'green tea for laptop', '~ for laptop' ] { from: 'laptop', amount: 100 }",
    },
  },
  {
    name: 'Next.js',
    packages: ['next@16.4.6', 'react@19.3.1', 'react-dom@19.3.1', '@types/react@19.3.3', ...served.slice(2)],
    files: {
      'tsconfig.json': '{"compilerOptions":{"strict":true}}',
      'proxy.ts': nextProxy,
      'app/api/proxied/route.ts': nextProxied,
    },
    calls: [
      { path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true },
      { path: '/api/orders?item=green+tea', body: ORDER, answer: ORDERED },
      { path: '/api/orders?item=green%20tea', body: ORDER, answer: UNAUTHORIZED },
      { path: '/api/proxied', body: ORDER, answer: ORDERED, isProtected: true },
      { path: '/api/proxied?item=green+tea', body: ORDER, answer: ORDERED },
      { path: '/api/proxied?item=green%20tea', body: ORDER, answer: UNAUTHORIZED },
    ],
  },
  {
    name: 'SvelteKit',
    node: '22.23.3',
    packages: [
      '@sveltejs/kit@3.2.0',
      '@sveltejs/adapter-node@6.0.1',
      '@sveltejs/vite-plugin-svelte@7.3.1',
      'svelte@5.57.3',
      'vite@8.4.0',
    ],
    files: {
      'vite.config.js': svelteConfig,
      'src/app.html':
        '<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>',
      'src/routes/internal/orders/+server.js': svelteProtected,
    },
    calls: [
      { path: '/api/orders', body: ORDER, answer: ORDERED, isProtected: true },
      { path: '/internal/orders?item=green%20tea', body: ORDER, answer: ORDERED, isProtected: true },
      {
        path: '/api/orders',
        body: ORDER,
        headers: {},
        answer: '403 Cross-site POST form submissions are forbidden',
      },
      {
        path: '/api/orders',
        body: JSON.stringify({ amount: ' '.repeat(600_000) }),
        answer: '400 {"error":"body_incomplete"}',
      },
    ],
  },
];

const trial = new Trial('frameworks', { NEXT_TELEMETRY_DISABLED: '1' });
const wanted = process.argv.slice(2).filter((name) => name !== '--keep');
const chosen = frameworks.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
let failed = 0;
try {
  await trial.pair();
  for (const framework of chosen) {
    const startedAt = performance.now();
    const problem = await check(framework).catch((error) => `${error.message}\n${error.stdout ?? ''}`);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
    console.log(`${problem === '' ? '✓' : '✗'} ${framework.name} (${seconds} s)${problem && `\n${problem}`}`);
    if (problem !== '') failed++;
  }
} finally {
  trial.end();
}
console.log(`${chosen.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** @returns what went wrong */
async function check({ name, node, packages, files = {}, prepare = [], calls, client }) {
  const port = await freePort();
  const { files: shown, commands } = readSection(name, port);
  const dir = await trial.project(name, packages, { ...files, ...shown });
  await trial.sh('npm pkg set type=module', dir);
  const bin = await trial.nodeBin(node);
  // A program is built where there is no identity.
  for (const command of [...prepare, ...commands.slice(0, -1)])
    await trial.sh(`AUTH_MESH_DIR=$PWD/none ${command}`, dir, bin);
  const server = start(commands.at(-1), dir, bin, port);
  try {
    await server.listening;
    const problems = [];
    for (const call of calls) problems.push(...(await problemsOf(call, `http://localhost:${port}`)));
    problems.push(...(await problemsOfHosts(calls[0], port)));
    if (client) {
      const printed = (await trial.sh(client.command, dir, bin)).trim();
      if (printed !== client.prints) problems.push(`${client.command} printed: ${printed}`);
    }
    return problems.length === 0 ? '' : [...problems, server.output()].join('\n');
  } catch (error) {
    throw new Error(`${error.message}\n${error.stdout ?? ''}${server.output()}`);
  } finally {
    await server.stop();
  }
}

/** Sends a signed request, and those that have to be refused. */
async function problemsOf({ path, body, headers = JSON_TYPE, answer, isProtected = false }, origin) {
  const { createAmesh } = trial.sdk();
  const settings = { dir: trial.caller, env: {} };
  const signing = createAmesh(settings).fetch;
  const changing = createAmesh({
    ...settings,
    fetch: (url, init) => fetch(url, { ...init, body: body.replace('100', '999') }),
  }).fetch;
  const expected = [['signed', signing, answer]];
  if (isProtected) expected.push(['unsigned', fetch, UNAUTHORIZED], ['changed', changing, UNAUTHORIZED]);
  const problems = [];
  for (const [kind, send, wanted] of expected) {
    const response = await send(origin + path, { method: 'POST', headers, body });
    const got = `${response.status} ${await response.text()}`;
    if (got !== wanted) problems.push(`${path}, ${kind}: ${got.slice(0, 500)}, not ${wanted}`);
  }
  return problems;
}

/** In production, callers use another name than `localhost`. */
async function problemsOfHosts({ path, body, headers = JSON_TYPE, answer }, port) {
  const { createAmesh } = trial.sdk();
  const settings = { dir: trial.caller, env: {}, fetch: (url, init) => fetchFrom(port, new URL(url), init) };
  const { fetch } = createAmesh(settings);
  const problems = [];
  for (const [host, expected] of [
    [HOST, answer],
    ['other.example.com', '421 {"error":"wrong_host"}'],
  ]) {
    const url = `http://${host}${path}`;
    const response = await fetch(url, { method: 'POST', headers, body });
    const got = `${response.status} ${await response.text()}`;
    if (got !== expected) problems.push(`${url}: ${got.slice(0, 500)}, not ${expected}`);
  }
  return problems;
}

/** Calls a host that is at a port of this machine. */
async function fetchFrom(port, { host, pathname, search }, { method, headers, body }) {
  const fields = { ...Object.fromEntries(new Headers(headers)), host, 'content-length': body.length };
  const call = request({ port, method, path: pathname + search, headers: fields }).end(body);
  const [response] = await once(call, 'response');
  return new Response(await text(response), { status: response.statusCode });
}

/** Starts a server in a process group of its own, since commands start others. */
function start(command, cwd, bin, port) {
  const env = { ...trial.env(cwd, bin), PORT: String(port) };
  const child = spawn('sh', ['-c', command], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const ended = once(child, 'close');
  async function listening() {
    for (let i = 0; i < 300 && child.exitCode === null; i++) {
      if (await fetch(`http://localhost:${port}/`).catch(() => undefined)) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`${command} does not answer.`);
  }
  async function stop() {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {} // it has ended
    await ended;
  }
  return { listening: listening(), output: () => output, stop };
}

/** Below the ports that the system gives to connections: one of those may be taken before the framework binds it. */
async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer().listen(port, 'localhost');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    server.close();
    if (isFree) return port;
  }
}

/** The files and commands of a section, with another port than 3000, and another host. */
function readSection(heading, port) {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  const files = {};
  const commands = [];
  for (const [, language, block] of section.matchAll(
    /^```(\w+) no-run: run by scripts\/check-frameworks\.mjs\n([\s\S]*?)^```$/gm,
  )) {
    const text = block
      .replaceAll("'localhost:3000'", `'localhost:${port}', '${HOST}'`)
      .replaceAll('AMESH_HOSTS=localhost:3000', `AMESH_HOSTS=localhost:${port},${HOST}`)
      .replaceAll('3000', String(port));
    if (language === 'sh')
      commands.push(
        ...text
          .trim()
          .split('\n')
          .map((line) => line.replace('npx ', '')),
      );
    else files[/^\/\/ (\S+)\n/.exec(text)[1]] = text;
  }
  return { files, commands };
}
