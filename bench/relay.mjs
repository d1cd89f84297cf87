// What a relay costs, and whether anything is left after clients that come and go as they like. The relay is a process
// of its own; its CPU time and memory come from its /metrics. Exits with 1 beyond a budget, or with --report only says
// so. With --shared the budget of CPU time is twice as large: where others use the machine, the same work takes longer,
// even in CPU time. With --soak ten times as many clients stop in the middle.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';

const CPU_BUDGET = process.argv.includes('--shared') ? 1 : 0.5;
const PAIRINGS = 4_000;
const SOAK_PAIRINGS = process.argv.includes('--soak') ? 20_000 : 2_000;

if (process.argv[2] === 'relay') await serve();
else await bench();

async function serve() {
  const { createRelay } = await import('@authmesh/relay');
  // As it is shipped, but for the number of codes: the bench wants 10,000 of them waiting at once, for longer than a minute.
  const relay = createRelay({ limits: { sessions: 10_000, codeMs: 300_000 } });
  console.log((await relay.listen(0, '127.0.0.1')).port);
  process.on('message', () => {
    const count = (kind) => process.getActiveResourcesInfo().filter((name) => name === kind).length;
    process.send({ sockets: count('TCPSocketWrap'), timers: count('Timeout') });
  });
}

async function bench() {
  const results = [];
  results.push(...(await withRelay(idleListeners)));
  results.push(...(await withRelay(pairings)));
  results.push(...(await withRelay(soak)));
  console.table(results);
  const missed = results.filter(({ value, budget }) => budget !== undefined && !(value <= budget));
  for (const { what, value, budget } of missed) console.error(`Over budget: ${what}: ${value} > ${budget}`);
  process.exitCode = missed.length === 0 || process.argv.includes('--report') ? 0 : 1;
}

async function withRelay(measure) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'relay'], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const [line] = await once(child.stdout, 'data');
  try {
    return await measure(Number(line), child);
  } finally {
    child.kill('SIGKILL');
  }
}

/** Ten thousand codes that wait, from a thousand addresses: as many as the limits of an address let in. */
async function idleListeners(port) {
  const count = 10_000;
  const sockets = [];
  for (let i = 0; i < count; i += 100) {
    const batch = await Promise.all(
      Array.from({ length: 100 }, (_, j) => listen(port, addressOf((i + j) / 10))),
    );
    sockets.push(...batch.map(({ socket }) => socket));
  }
  await sleep(1000);
  const at = await metrics(port);
  if (at('amesh_relay_sessions{state="listening"}') !== count) throw new Error('Not all of them listen.');
  const before = at('process_cpu_seconds_total');
  await sleep(5000);
  const after = await metrics(port);
  for (const socket of sockets) socket.terminate();
  return [
    { what: '10,000 idle listeners: RSS, MB', value: mb(after), budget: 256 },
    {
      what: '10,000 idle listeners: share of a core',
      value: round((after('process_cpu_seconds_total') - before) / 5, 3),
    },
  ];
}

/** Whole pairings of 8 messages each way, as fast as they go: what one costs does not depend on how many there are. */
async function pairings(port) {
  // Both ends of all of them are in this process, which has enough to do: warm up first.
  for (let i = 0; i < 100; i++) await pairing(port, addressOf(50_000 + i));
  const before = (await metrics(port))('process_cpu_seconds_total');
  const start = performance.now();
  let failed = 0;
  await inParallel(PAIRINGS, (i) => pairing(port, addressOf(i)).catch(() => failed++));
  const elapsed = (performance.now() - start) / 1000;
  const at = await metrics(port);
  const each = (at('process_cpu_seconds_total') - before) / PAIRINGS;
  return [
    { what: 'pairings a second', value: round(PAIRINGS / elapsed, 1) },
    { what: 'pairings that failed', value: failed, budget: 0 },
    { what: 'CPU time of a pairing, ms', value: round(each * 1000, 3) },
    { what: '200 pairings a second: share of a core', value: round(each * 200, 3), budget: CPU_BUDGET },
    { what: 'pairings: RSS, MB', value: mb(at) },
  ];
}

/** Clients that stop in the middle of anything, and then: is anything left? */
async function soak(port, child) {
  const before = await resources(child);
  let whole = 0;
  await inParallel(SOAK_PAIRINGS, async (i) => {
    const sockets = [];
    const abort = () => Math.random() < 0.05;
    await pairing(port, addressOf(i), { sockets, abort, messages: 4 })
      .then(() => whole++)
      .catch(() => {});
    for (const socket of sockets) socket.terminate();
  });
  await sleep(3000); // what closes gets two seconds to do so
  const after = await resources(child);
  const at = await metrics(port);
  const left = [
    'amesh_relay_sockets',
    'amesh_relay_sessions{state="listening"}',
    'amesh_relay_sessions{state="paired"}',
  ];
  return [
    { what: 'soak: pairings begun', value: SOAK_PAIRINGS },
    { what: 'soak: of them whole', value: whole },
    ...[...left, 'amesh_relay_deadlines'].map((name) => ({
      what: `soak: ${name} left`,
      value: at(name),
      budget: 0,
    })),
    { what: 'soak: connections left', value: after.sockets - before.sockets, budget: 0 },
    { what: 'soak: timers left', value: after.timers - before.timers, budget: 0 },
    { what: 'soak: RSS, MB', value: mb(at), budget: 256 },
  ];
}

/** Does something so many times, 40 at once. */
async function inParallel(times, action) {
  let next = 0;
  const worker = async () => {
    while (next < times) await action(next++);
  };
  await Promise.all(Array.from({ length: 40 }, worker));
}

/** A whole pairing, of so many messages each way; `abort` is asked before each step whether to stop dead. */
async function pairing(port, from, { sockets = [], abort = () => false, messages = 8 } = {}) {
  const step = (socket, frame) => {
    if (abort()) throw new Error('aborted');
    socket.send(JSON.stringify(frame));
  };
  const { socket: t, code } = await listen(port, from, sockets);
  const c = await open(port, from, sockets);
  const paired = frame(t);
  step(c, { type: 'join', v: 1, code });
  await Promise.all([paired, frame(c)]);
  const body = 'x'.repeat(300);
  for (let i = 0; i < messages; i++) {
    const toC = frame(c);
    step(t, { type: 'msg', body });
    await toC;
    const toT = frame(t);
    step(c, { type: 'msg', body });
    await toT;
  }
  step(c, { type: 'bye' });
  await Promise.all([once(t, 'close'), once(c, 'close')]);
}

async function listen(port, from, sockets) {
  const socket = await open(port, from, sockets);
  const answer = frame(socket);
  socket.send('{"type":"listen","v":1}');
  const { type, code } = await answer;
  if (type !== 'listening') throw new Error(`Not listening: ${code}`);
  return { socket, code };
}

async function open(port, from, sockets = []) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { localAddress: from, perMessageDeflate: false });
  sockets.push(socket);
  socket.on('error', () => {});
  await once(socket, 'open');
  return socket;
}

/** The next frame; rejects where the socket closes instead. */
function frame(socket) {
  const promise = new Promise((resolve, reject) => {
    const closed = () => reject(new Error('closed'));
    socket.once('close', closed);
    socket.once('message', (data) => {
      socket.off('close', closed);
      resolve(JSON.parse(String(data)));
    });
  });
  promise.catch(() => {}); // nobody waits for it any more where a pairing stops dead
  return promise;
}

/** One of the many addresses that a loopback interface has. */
function addressOf(number) {
  const n = Math.floor(number);
  return `127.${1 + (Math.floor(n / 65_024) % 127)}.${Math.floor(n / 254) % 256}.${1 + (n % 254)}`;
}

/** @returns a function that gives the value of a metric */
async function metrics(port) {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { connection: 'close' } });
  const lines = (await response.text()).split('\n');
  return (name) => Number(lines.find((line) => line.startsWith(`${name} `))?.slice(name.length) ?? 0);
}

/** How many sockets and timers its process holds. */
async function resources(child) {
  child.send('resources');
  return (await once(child, 'message'))[0];
}

function mb(at) {
  return round(at('process_resident_memory_bytes') / 1e6, 1);
}

function round(value, digits) {
  return Number(value.toFixed(digits));
}
