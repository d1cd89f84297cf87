// What a proven answer costs the server, beyond one bare signature: Express, a POST of 1 KiB, an answer of 1 KiB. The server is a
// process of its own, and only its CPU time counts. The bare signature is made by a handler, in place of the proof: in a loop of its
// own it would find everything in the caches of the processor. Rounds of each kind alternate, so that all see the same load. Exits with
// 1 beyond the budget, or with --report only says so.
import { fork } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { fileURLToPath } from 'node:url';
import { createVerifier, InMemoryNonceStore, signRequest, toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { verify } from '@authmesh/sdk/express';

const ROUNDS = 15;
const PER_ROUND = 600;
/** Rounds before those that count: 12,000 requests of each kind. V8 goes on compiling what is hot for about as long. */
const WARM_ROUNDS = 20;
/**
 * Requests at once. With one, the client sleeps while the server works, and to wake it costs the server more the longer it has
 * slept: on a virtual machine more than the signature.
 */
const AT_ONCE = 16;
const BUDGET_US = 50;

if (process.argv[2] === 'server') await serve();
else await bench();

async function serve() {
  const [jwk, deviceId, publicKey] = JSON.parse(process.argv[3]);
  const { default: express } = await import('express');
  const key = await nodeCrypto.importPrivateKey(jwk);
  const verifier = createVerifier({
    allowList: {
      deviceId: null,
      hosts: ['api.example.com'],
      devices: [{ deviceId, publicKey, friendlyName: 'bench', roles: ['controller'] }],
    },
    nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
    answerSigner: { deviceId, sign: (message) => key.sign(message) },
  });
  const answer = { text: 'a'.repeat(1000) };
  const app = express();
  app.use(verify({ amesh: { verifier: () => verifier } }));
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
  const message = Buffer.alloc(420, 0x61);
  app.post('/', (_request, response) => response.json(answer));
  app.post('/sign', (_request, response) => {
    sign('sha256', message, privateKey);
    response.json(answer);
  });
  const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port));

  let before = process.cpuUsage();
  process.on('message', (word) => {
    if (word === 'start') before = process.cpuUsage();
    const { user, system } = process.cpuUsage(before);
    process.send(user + system);
  });
}

async function bench() {
  const jwk = await nodeCrypto.generatePrivateKey();
  const signer = await nodeCrypto.importPrivateKey(jwk);
  const id = toBase64Url(await nodeCrypto.sha256(signer.publicKey)).slice(0, 16);
  const given = JSON.stringify([jwk, `am_${id}`, toBase64Url(signer.publicKey)]);
  const server = fork(fileURLToPath(import.meta.url), ['server', given]);
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  try {
    const [port] = await once(server, 'message');
    const tell = async (word) => {
      server.send(word);
      return (await once(server, 'message'))[0];
    };
    const times = { without: [], with: [], sign: [] };
    for (let round = 0; round < WARM_ROUNDS + ROUNDS; round++) {
      for (const kind of round % 2 === 0 ? ['without', 'with', 'sign'] : ['sign', 'with', 'without']) {
        const requests = await prepare(signer, kind);
        await tell('start');
        await Promise.all(
          Array.from({ length: AT_ONCE }, async (_, lane) => {
            for (let i = lane; i < requests.length; i += AT_ONCE) await post(port, agent, requests[i], kind);
          }),
        );
        const us = (await tell(kind)) / PER_ROUND;
        if (round >= WARM_ROUNDS) times[kind].push(us);
      }
    }
    report(times);
  } finally {
    agent.destroy();
    server.kill('SIGKILL');
  }
}

/** Where the handler signs, in place of amesh. */
function pathOf(kind) {
  return kind === 'sign' ? '/sign' : '/';
}

async function prepare(signer, kind) {
  const body = new Uint8Array(1024).fill(0x61);
  const headers = { host: 'api.example.com', 'content-type': 'text/plain', 'content-length': '1024' };
  const view = { method: 'POST', target: pathOf(kind), authority: 'api.example.com', headers, body };
  const requests = [];
  for (let i = 0; i < PER_ROUND; i++)
    requests.push(await signRequest(view, signer, { asksForProof: kind === 'with' }));
  return requests;
}

async function post(port, agent, { headers, body }, kind) {
  const call = request({ host: '127.0.0.1', port, method: 'POST', path: pathOf(kind), headers, agent });
  call.end(body);
  const [response] = await once(call, 'response');
  response.resume();
  await once(response, 'end');
  if (response.statusCode !== 200 || (response.headers.signature !== undefined) !== (kind === 'with'))
    throw new Error(`An answer is not as it should be: ${response.statusCode}`);
}

function report(times) {
  const middle = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
  // Of each round, since the load changes.
  const bare = middle(times.sign.map((us, i) => us - times.without[i]));
  const beyond = middle(times.with.map((us, i) => us - times.sign[i]));
  const rounded = (us) => Math.round(us * 10) / 10;
  console.table({
    'CPU of a request without a proof, µs': { value: rounded(middle(times.without)) },
    'with a proof, µs': { value: rounded(middle(times.with)) },
    'one bare signature, µs': { value: rounded(bare) },
    'a proof beyond one bare signature, µs': { value: rounded(beyond), budget: BUDGET_US },
  });
  if (beyond <= BUDGET_US || process.argv.includes('--report')) return;
  console.error(`Over budget: a proof costs ${rounded(beyond)} µs beyond one signature > ${BUDGET_US}`);
  process.exitCode = 1;
}
