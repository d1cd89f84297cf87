// Two machines on one: pairs them with the real `amesh` command, runs a real server and attacks it.
// Exits with 0 only if every request had the expected result.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { styleText } from 'node:util';

const SELF = fileURLToPath(import.meta.url);
// The command beside this project, or another installation of it.
const AMESH =
  process.env.AMESH_BIN ??
  fileURLToPath(new URL('bin/amesh.mjs', import.meta.resolve('@authmesh/cli/package.json')));

// The demo ignores what this shell has set for amesh.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(?:AUTH_MESH|AMESH)_/.test(name)),
);

/** Whether each request had the expected result, in order. */
const outcomes = [];

/** The server: what an application would write, and a line on stdout for each refusal. */
async function serve() {
  const [{ amesh }, { default: express }] = await Promise.all([import('@authmesh/sdk'), import('express')]);
  const app = express();
  app.use(amesh.verify({ onRefusal: ({ code }) => console.log(code) }));
  app.use(express.json());
  app.get('/orders', (req, res) => res.json({ caller: req.authMesh.friendlyName }));
  app.post('/orders', (req, res) => res.json({ caller: req.authMesh.friendlyName, got: req.body }));
  const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
  process.stdin.resume().on('end', () => process.exit()); // gone when the demo is
}

/** Somebody between client and server: a process that passes requests on, and changes the answers. */
function forge() {
  const port = process.argv[3];
  const middle = createServer((req, res) => {
    const { method, url: path, rawHeaders: headers } = req;
    const passedOn = request({ host: '127.0.0.1', port, method, path, headers }, async (answer) => {
      const changed = (await text(answer)).replace('alice-laptop', 'someone-else'); // of the same length
      res.writeHead(answer.statusCode, answer.rawHeaders).end(changed);
    });
    req.pipe(passedOn);
  });
  middle.listen(0, '127.0.0.1', () => console.log(middle.address().port));
  process.stdin.resume().on('end', () => process.exit()); // gone when the demo is
}

async function demo() {
  const folder = mkdtempSync(join(tmpdir(), 'amesh-demo-'));
  const dirs = {
    alice: join(folder, 'alice-laptop'),
    prod: join(folder, 'prod-api'),
    mallory: join(folder, 'mallory'),
  };
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

  const servers = [];
  try {
    title('Each machine gets a key');
    await cli(dirs.alice, ['init', '--name', 'alice-laptop']);
    await cli(dirs.prod, ['init', '--name', 'prod-api']);
    await cli(dirs.mallory, ['init', '--name', 'mallory']);
    const prod = await startServer(dirs.prod, servers);
    const host = `127.0.0.1:${prod.port}`;

    title('Two machines pair by a code, over a local relay');
    const relay = await startRelay(servers);
    await pair(dirs, relay, host);
    // A server looks at its list at most every 250 ms, and may have done so just before the pairing.
    await new Promise((resolve) => setTimeout(resolve, 300));

    await attack(dirs, prod, host, servers);
  } finally {
    for (const { child } of servers) child.kill();
  }

  const failed = outcomes.filter((good) => !good).length;
  title(
    failed === 0
      ? `All ${outcomes.length} requests had the expected result.`
      : `${failed} of ${outcomes.length} requests did NOT have the expected result.`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}

async function attack(dirs, prod, host, servers) {
  const alice = await createRecorded(dirs.alice);
  const url = `http://${host}/orders`;
  const order = { method: 'POST', body: '{"item":"tea"}', headers: { 'content-type': 'application/json' } };

  title('The server accepts what alice-laptop signs');
  await expect('GET', alice.fetch(url), { status: 200, body: '{"caller":"alice-laptop"}' });
  const answer = '{"caller":"alice-laptop","got":{"item":"tea"}}';
  await expect('POST, read by express.json()', alice.fetch(url, order), { status: 200, body: answer });

  title('The server refuses what an attacker makes of it');
  const sent = alice.last();
  await expect('the same POST once more', send(prod, sent), refusal(prod, 401, 'replay_detected'));

  const post = await alice.capture(url, order);
  const changed = { ...post, body: post.body.replace('tea', 'gin') };
  await expect('another body', send(prod, changed), refusal(prod, 401, 'content_digest_mismatch'));

  const get = await alice.capture(`${url}?limit=10`);
  const more = { ...get, path: '/orders?limit=10000' };
  await expect('another query', send(prod, more), refusal(prod, 401, 'invalid_signature'));

  const elsewhere = await alice.capture('http://other.example/orders');
  await expect('signed for another host', send(prod, elsewhere), refusal(prod, 421, 'wrong_host'));

  const bare = { method: 'GET', path: '/orders', headers: { host } };
  await expect('no signature', send(prod, bare), refusal(prod, 401, 'missing_header'));

  const mallory = await createRecorded(dirs.mallory);
  await expect('signed by a stranger', mallory.fetch(url), refusal(prod, 401, 'unknown_device'));

  const aliceServer = await startServer(dirs.alice, servers);
  const target = await createRecorded(dirs.prod);
  await expect(
    'prod-api calling alice-laptop back',
    target.fetch(`http://127.0.0.1:${aliceServer.port}/orders`),
    refusal(aliceServer, 401, 'role_not_allowed'),
  );

  title('The client refuses what somebody else answers in place of the server');
  const middle = await startServer(dirs.mallory, servers, ['forge', String(prod.port)]);
  const forged = alice.through(middle, url);
  await expect('the answer, changed by a proxy in between', forged, { status: 200, body: 'answer_unproven' });

  title('The server refuses a revoked device within a second, without a restart');
  await cli(dirs.prod, ['revoke', 'alice-laptop', '--yes']);
  const revokedAt = performance.now();
  // To a device that it does not know, the server proves nothing.
  const call = () => alice.fetch(url, { answers: 'off' });
  let response = await call();
  while (response.ok && performance.now() - revokedAt < 1000) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    response = await call();
  }
  const after = `alice-laptop, ${Math.round(performance.now() - revokedAt)} ms after amesh revoke`;
  await expect(after, response, refusal(prod, 401, 'unknown_device'));
}

/** What two people do at two terminals: each reads a code on one screen and types it at the other. */
async function pair({ alice, prod }, relay, host) {
  const listening = start(prod, ['listen', '--relay', relay, '--host', host]);
  const code = await listening.line();
  // Nobody can answer a question here, so the host is not taken from the other side.
  const inviting = start(alice, ['invite', code, '--relay', relay, '--host', host, '--yes']);
  listening.type(await inviting.line());
  await Promise.all([listening.ended, inviting.ended]);
}

/** Starts `amesh relay`, and gives its URL. */
async function startRelay(servers) {
  const child = spawn(process.execPath, [AMESH, 'relay', '--port', '0', '--bind', '127.0.0.1'], { env });
  servers.push({ child });
  let said = '';
  for await (const line of createInterface({ input: child.stderr })) {
    said += `${line}\n`;
    const [, port] = /listening on 127\.0\.0\.1:(\d+)/.exec(line) ?? [];
    if (port !== undefined) return `ws://127.0.0.1:${port}/ws`;
  }
  throw new Error(`The relay did not start:\n${said}`);
}

/** A command that continues while another runs; its output is shown as it comes. */
function start(dir, args) {
  const name = basename(dir).padEnd(12);
  console.log(`  ${name} $ ${style('cyan', `amesh ${args.join(' ')}`)}`);
  const child = spawn(process.execPath, [AMESH, ...args], { env: { ...env, AUTH_MESH_DIR: dir } });
  let said = '';
  createInterface({ input: child.stderr }).on('line', (line) => {
    said += `${line}\n`;
    console.log(`  ${name}   ${line.replaceAll(`AUTH_MESH_DIR=${dir} `, '')}`);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    line: async () => {
      const { value, done } = await lines.next();
      if (done) throw new Error(`amesh ${args.join(' ')} ended:\n${said}`);
      return value;
    },
    type: (text) => child.stdin.end(`${text}\n`),
    ended: once(child, 'close').then(([code]) => {
      if (code !== 0) throw new Error(`amesh ${args.join(' ')} exited with ${code}:\n${said}`);
    }),
  };
}

/** A client with a folder's identity that records what it sends, and can hold it back. */
async function createRecorded(dir) {
  const { createAmesh } = await import('@authmesh/sdk');
  let answer; // in place of the server's
  let middle; // where requests go in place of the server
  let last;
  const amesh = createAmesh({
    dir,
    env,
    async fetch(url, init) {
      const { host, pathname, search } = new URL(url);
      const body = init.body === null ? undefined : Buffer.from(init.body).toString();
      const headers = { ...Object.fromEntries(init.headers), host };
      last = { method: init.method, path: pathname + search, headers, body };
      return answer ?? (middle === undefined ? fetch(url, init) : send(middle, last));
    },
  });
  return {
    fetch: amesh.fetch,
    last: () => last,
    async capture(url, init) {
      answer = new Response();
      await amesh.fetch(url, { ...init, answers: 'off' });
      answer = undefined;
      return last;
    },
    /** What the client makes of the answer when its network leads to somebody else: the code of its error. */
    async through(other, url) {
      middle = other;
      const response = await amesh.fetch(url);
      const body = await response.text().catch(({ code }) => code); // a body is checked while it is read
      middle = undefined;
      return new Response(body, { status: response.status });
    },
  };
}

/** Sends bytes that no client would send to one of our servers, whatever the Host header says. */
async function send(server, { method, path, headers, body }) {
  const outgoing = request({ host: '127.0.0.1', port: server.port, method, path, headers });
  outgoing.end(body);
  const [response] = await once(outgoing, 'response');
  const { statusCode: status, rawHeaders } = response;
  const lines = rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, rawHeaders[i + 1]]] : []));
  return new Response(await text(response), { status, headers: lines });
}

async function startServer(dir, servers, role = ['serve']) {
  const child = spawn(process.execPath, [SELF, ...role], {
    env: { ...env, AUTH_MESH_DIR: dir },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const log = text(child.stderr);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  servers.push({ child });
  const { value, done } = await lines.next();
  if (done) throw new Error(`The server did not start:\n${await log}`);
  const silence = () => new Promise((resolve) => setTimeout(resolve, 2000, { value: 'nothing' }).unref());
  return {
    port: Number(value),
    nextRefusal: async () => (await Promise.race([lines.next(), silence()])).value,
  };
}

async function cli(dir, args, input = '') {
  const child = spawn(process.execPath, [AMESH, ...args], { env: { ...env, AUTH_MESH_DIR: dir } });
  child.stdin.on('error', () => {}); // most commands never read it
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  const line = `${input === '' ? '' : '… | '}amesh ${args.join(' ')}`;
  console.log(`  ${basename(dir).padEnd(12)} $ ${style('cyan', line)}`);
  if (code !== 0) throw new Error(`amesh ${args.join(' ')} exited with ${code}:\n${stderr}`);
  return stdout;
}

function refusal(server, status, reason) {
  return { status, reason, server };
}

/** Prints one line: what was tried, what came back, and the reason in the server's log. */
async function expect(what, answer, { status, body, reason, server }) {
  const response = await answer;
  const got = await response.text();
  const why = reason === undefined || response.ok ? undefined : await server.nextRefusal();
  const good = response.status === status && (body === undefined || got === body) && why === reason;
  outcomes.push(good);
  const mark = good ? style('green', '✓') : style('red', '✗');
  const detail = why === undefined ? got : `${got}  the server's log says ${why}`;
  console.log(`${mark} ${what.padEnd(43)} ${response.status}  ${detail}`);
}

function title(line) {
  console.log(`\n${style('bold', line)}`);
}

function style(format, line) {
  const plain = !process.stdout.isTTY || process.env.NO_COLOR;
  return plain ? line : styleText(format, line, { validateStream: false });
}

const ROLES = { serve, forge };
await (ROLES[process.argv[2]] ?? demo)();
