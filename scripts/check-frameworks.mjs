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
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { frameworks, JSON_TYPE, UNAUTHORIZED } from './frameworks.mjs';
import { Trial } from './trial.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const page = readFileSync(join(root, 'docs/frameworks.md'), 'utf8');

const HOST = 'api.example.com';

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
async function check(framework) {
  const { name, node, packages, files = {}, prepare = [], calls, left, client } = framework;
  const port = await freePort();
  const { files: shown, commands } = readSection(framework, port);
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
    if (left) problems.push(...(await problemsOfLeaving(left, port, server.output)));
    const proven = calls.filter(({ isProven }) => isProven);
    if (proven.length > 0) await trial.introduce(`localhost:${port}`);
    for (const { path, body, answer } of proven)
      problems.push(
        ...(await problemsOf({ path, body, answer, answers: 'required' }, `http://localhost:${port}`)),
      );
    return problems.length === 0 ? '' : [...problems, server.output()].join('\n');
  } catch (error) {
    throw new Error(`${error.message}\n${error.stdout ?? ''}${server.output()}`);
  } finally {
    await server.stop();
  }
}

/** Sends a signed request, and those that have to be refused. */
async function problemsOf(call, origin) {
  const { path, method = 'POST', body, headers = JSON_TYPE, answer, isProtected = false, answers } = call;
  const { createAmesh } = trial.sdk();
  const settings = { dir: trial.caller, env: {}, answers };
  const signing = createAmesh(settings).fetch;
  const changing = createAmesh({
    ...settings,
    fetch: (url, init) => fetch(url, { ...init, body: body.replace('100', '999') }),
  }).fetch;
  const expected = [['signed', signing, answer]];
  if (isProtected) expected.push(['unsigned', fetch, UNAUTHORIZED]);
  if (isProtected && body !== undefined) expected.push(['changed', changing, UNAUTHORIZED]);
  const problems = [];
  for (const [kind, send, wanted] of expected) {
    const response = await send(origin + path, { method, headers, body });
    const got = `${response.status} ${await response.text()}`;
    if (got !== wanted) problems.push(`${path}, ${kind}: ${got.slice(0, 500)}, not ${wanted}`);
  }
  return problems;
}

/** A client sends the head of a signed request, and leaves: the handler, which would print REACHED, may not run. */
async function problemsOfLeaving({ path, body }, port, output) {
  async function send(_url, { method, headers }) {
    const fields = { ...Object.fromEntries(new Headers(headers)), 'content-length': body.length };
    const call = request({ port, method, path, headers: fields }).on('error', () => {});
    call.flushHeaders();
    await sleep(200);
    call.destroy();
    await sleep(300);
    return new Response();
  }
  const { fetch } = trial.sdk().createAmesh({ dir: trial.caller, env: {}, fetch: send });
  await fetch(`http://localhost:${port}${path}`, { method: 'DELETE', body });
  return output().includes('REACHED') ? [`${path}: a request without its body has reached a handler`] : [];
}

/** In production, callers use another name than `localhost`. */
async function problemsOfHosts({ path, body, headers = JSON_TYPE, answer }, port) {
  const { createAmesh } = trial.sdk();
  const settings = {
    dir: trial.caller,
    env: {},
    fetch: (url, init) => fetchFrom(port, new URL(url), init),
  };
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
      await sleep(200);
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
function readSection({ name, commands: others = [] }, port) {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${name}\n`));
  const files = {};
  const commands = [];
  for (const [, language, block] of section.matchAll(
    /^```(\w+) no-run: run by scripts\/check-frameworks\.mjs\n([\s\S]*?)^```$/gm,
  )) {
    const text = placed(block, port);
    if (language === 'sh')
      commands.push(
        ...text
          .trim()
          .split('\n')
          .map((line) => line.replace('npx ', '')),
      );
    else files[/^\/\/ (\S+)\n/.exec(text)[1]] = text;
  }
  return { files, commands: [...commands, ...others.map((command) => placed(command, port))] };
}

function placed(text, port) {
  return text
    .replaceAll("'localhost:3000'", `'localhost:${port}', '${HOST}'`)
    .replaceAll('AMESH_HOSTS=localhost:3000', `AMESH_HOSTS=localhost:${port},${HOST}`)
    .replaceAll('3000', String(port));
}
