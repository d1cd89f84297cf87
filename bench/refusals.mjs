// What the dearest refusals cost a server, over a socket: requests that anybody can send, each with one field as long as Node takes
// it, beside a request that is accepted, and beside a server without amesh, which accepts all of them. The figure is the CPU time of
// the server process. Usage:
//   node bench/refusals.mjs [--rounds 9] [--requests 300] [--json results.json]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ask, makeList, round } from './list-support.mjs';

/** A server of these is a process of its own. */
const SERVERS = fileURLToPath(new URL('servers.mjs', import.meta.url));
const CONNECTIONS = 16;
/** The most that a refusal may cost, in accepted requests. */
const GOAL = 2;
/** Just below the limit of Node for all headers together, 16 KiB. */
const LONG = 15_000;
const NOTHING = Buffer.alloc(0);

await bench();

async function bench() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '9' },
      requests: { type: 'string', default: '300' },
      json: { type: 'string' },
    },
  });
  const root = mkdtempSync(join(tmpdir(), 'amesh-refusals-'));
  const { dir, callers } = await makeList(root, {}, 2);
  const children = ['amesh', 'none'].map((protection) =>
    fork(SERVERS, ['--server', JSON.stringify({ framework: 'node:http', protection, dir })]),
  );
  try {
    const servers = await Promise.all(
      children.map(async (child) => ({ child, port: (await once(child, 'message'))[0] })),
    );
    const results = await measure(servers, callers[0], Number(values.rounds), Number(values.requests));
    show(results);
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    rmSync(root, { recursive: true, maxRetries: 20 });
  }
}

/** The CPU time of a request in µs, by kind and round: of the protected server, and of the other one. */
async function measure(servers, caller, rounds, count) {
  const { openDevice } = await import('@authmesh/sdk/admin');
  const { Load, prepare, toBytes } = await import('./servers-load.mjs');
  const { signer } = await openDevice(caller, {});
  const loads = await Promise.all(servers.map(({ port }) => Load.open(port, CONNECTIONS)));
  const made = async (port) => kindsOf(await signedView(signer, `127.0.0.1:${port}`));
  const names = ['accepted', ...Object.keys(await made(servers[0].port))];
  const times = Object.fromEntries(names.map((name) => [name, [[], []]]));
  for (let i = 0; i < rounds + 2; i++) {
    for (const name of names) {
      for (const [which, { child, port }] of servers.entries()) {
        let requests;
        if (name === 'accepted') requests = await prepare({ port, signer, count });
        else {
          const kind = (await made(port))[name](); // signed just now
          requests = Array(count).fill(toBytes(kind, kind.headers, NOTHING));
        }
        await ask(child, 'start');
        await loads[which].send(requests, { status: which === 1 || name === 'accepted' ? 200 : '4' });
        const us = (await ask(child, 'stop')) / count;
        if (i >= 2) times[name][which].push(us);
      }
    }
  }
  return times;
}

/** A request with a right signature, from which the kinds are made. */
async function signedView(signer, host) {
  const { signRequest } = await import('@authmesh/sdk/core');
  const view = {
    method: 'GET', // with a body, the server would have to close the connection
    target: '/orders?b=2&a=1',
    authority: host,
    headers: { host, 'content-type': 'application/json' },
  };
  const own = await signRequest(view, signer, {});
  const open = await signRequest(view, signer, { format: 'rfc9421' });
  return { ...view, own: own.headers, open: open.headers };
}

/** What a stranger may send, who has seen a request of a listed device. */
function kindsOf({ own, open, headers, ...view }) {
  const input = open['signature-input'] ?? open['Signature-Input'];
  const signature = open.signature ?? open.Signature;
  const authorization = own.authorization ?? own.Authorization;
  const of = (changes, from = headers) => ({ ...view, headers: { ...from, ...changes } });
  const repeat = (text, least = LONG) => text.repeat(Math.floor(least / text.length));
  const wrong = (text) =>
    text.replace(/(sig="|amesh=:)(.)/, (_, start, first) => `${start}${first === 'A' ? 'B' : 'A'}`);
  const almost = { ...own, authorization: wrong(authorization) };
  const inOwn = (name, value) => () => of({ [name]: value }, almost);
  return {
    'no signature': () => of({}),
    'a wrong signature of a listed device': () => of({}, almost),
    'the same in RFC 9421': () => of({ signature: wrong(signature) }, open),
    'Authorization: spaces': () => of({ authorization: `AuthMesh${' '.repeat(LONG)}v` }),
    'Authorization: many members': () => of({ authorization: `AuthMesh ${repeat('v="2",')}v="2"` }),
    'Authorization: a long member': () => of({ authorization: `AuthMesh v="2",id="${'a'.repeat(LONG)}"` }),
    'Signature-Input: many members': () =>
      of({ 'signature-input': `${repeat('a=();b,', LONG / 2)}${input}`, signature }),
    'Signature-Input: many components': () =>
      of({ 'signature-input': `amesh=(${repeat('"a" ')}"b");created=1;tag="amesh"`, signature }),
    'Signature-Input: many parameters': () =>
      of({ 'signature-input': `amesh=("@method")${repeat(';a=1')};tag="amesh"`, signature }),
    'Signature-Input: a long string': () =>
      of({ 'signature-input': `amesh=("@method");a="${repeat('\\"')}";tag="amesh"`, signature }),
    'Signature-Input: a string without an end': () => of({ 'signature-input': `"${repeat('\\\\"', 8190)}` }),
    'Signature-Input: another tag': () =>
      of({ 'signature-input': `a=(${repeat('"a" ')}"b");tag="b"`, signature }),
    'Signature: many members': () =>
      of({ 'signature-input': input, signature: `${repeat('a=:YQ==:,')}${signature}` }),
    'Signature: a long member': () =>
      of({ 'signature-input': input, signature: `amesh=:${'A'.repeat(LONG)}:` }),
    'Content-Digest: many members': inOwn('content-digest', `${repeat('a=:YQ==:,')}b=:YQ==:`),
    'Content-Digest: a long member': inOwn('content-digest', `sha-256=:${'A'.repeat(LONG)}:`),
    'AuthMesh-Key: a long statement': inOwn('authmesh-key', `a.${'a'.repeat(LONG)}.a`),
    'AuthMesh-Key: many parts': inOwn('authmesh-key', repeat('a.')),
    'AuthMesh-Rotation: long': inOwn('authmesh-rotation', `a.${'a'.repeat(LONG)}.a`),
    'Accept-Signature: many members': inOwn('accept-signature', `${repeat('a=();b,')}b=()`),
    'AuthMesh-Target: long': inOwn('authmesh-target', 'a'.repeat(LONG)),
    'Content-Type: long': inOwn('content-type', `a/b;${'a'.repeat(LONG)}`),
    'a long path': () => ({ ...of({}, almost), target: `/${repeat('%41')}` }),
    'a long query': () => ({ ...of({}, almost), target: `/?${repeat('a=%41&')}` }),
    'a long Host': () => of({ host: `${'a'.repeat(LONG)}:1` }, almost),
    'many headers': () => of(manyHeaders('x-'), almost),
    'many headers, in RFC 9421': () => of({ ...manyHeaders('host-'), signature: wrong(signature) }, open),
    'many headers, with names as long as one that is read': () => of(manyHeaders('authoriza-'), almost),
    'a header of many lines': () => of({ 'x-a': `a${repeat('\r\nx-a: a')}` }, almost),
    'a header of many lines, which is read': () =>
      of({ forwarded: `a${repeat('\r\nforwarded: a')}` }, almost),
    'Content-Type: many lines': () => of({ 'content-type': `a${repeat('\r\ncontent-type: a')}` }, almost),
    'Signature-Input: many lines': () =>
      of({ signature, 'signature-input': `${input}${repeat('\r\nsignature-input: a=()')}` }),
  };
}

function manyHeaders(start) {
  return Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`${start}${i}`, 'a']));
}

function show(times) {
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  const rounded = (value) => Math.round(100 * value) / 100;
  const [accepted] = times.accepted;
  const rows = Object.entries(times)
    .map(([kind, [us, without]]) => ({
      kind,
      'CPU, µs': round(median(us)),
      'without amesh, µs': round(median(without)),
      // Of each round, since the load of the machine changes.
      'accepted requests': rounded(median(us.map((each, i) => each / accepted[i]))),
      'of that, by amesh': rounded(median(us.map((each, i) => (each - without[i]) / accepted[i]))),
    }))
    .sort((a, b) => b['CPU, µs'] - a['CPU, µs']);
  console.table(rows);
  const dear = rows.filter((row) => row['accepted requests'] > GOAL);
  console.log(
    dear.length === 0
      ? `None costs more than ${GOAL} accepted requests.`
      : `Dearer than ${GOAL} accepted requests: ${dear.map(({ kind }) => kind).join('; ')}.`,
  );
}
