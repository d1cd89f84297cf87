// amesh beside its peers: verify and sign by carrier, provider and kind of request, as ratios to one bare signature or check of
// P-256 in the same turns. Writes results.json, the table in docs/performance.md and its chart. Run it by `npm run bench:peers`.
import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { drawChart } from './chart.mjs';
import { ameshSide, bareSides } from './operations.mjs';
import { peers } from './peer-sides.mjs';
import { round, takeTurns } from './turns.mjs';

const TURNS = Number(process.env.BENCH_TURNS ?? 160);
const AMESH = [
  { name: 'amesh, AuthMesh header', format: 'authmesh' },
  { name: 'amesh, RFC 9421', format: 'rfc9421' },
  { name: 'amesh, AuthMesh header, Request', format: 'authmesh', kind: 'Request' },
  { name: 'amesh, RFC 9421, Request', format: 'rfc9421', kind: 'Request' },
  { name: 'amesh, WebCrypto', format: 'authmesh', provider: 'web' },
  { name: 'amesh, noble', format: 'authmesh', provider: 'noble', turns: 16 },
];

if (process.argv[2] === 'one') {
  process.send(await one(JSON.parse(process.argv[3])));
  process.exit();
}
const results = [];
// Each in a process of its own: what has run before in a process changes how fast the next one is.
for (const does of ['verify', 'sign'])
  for (const { name, ...how } of [...AMESH, ...peers().filter((peer) => peer[does] !== null)])
    results.push(
      await measured({
        does,
        name,
        format: how.format,
        kind: how.kind,
        provider: how.provider,
        turns: how.turns,
      }),
    );
const found = {
  date: new Date().toISOString().slice(0, 10),
  machine: `${cpus().length} × ${cpus()[0].model.trim()}`,
  node: process.version,
  results,
};
writeFileSync(new URL('results.json', import.meta.url), `${JSON.stringify(found, null, 2)}\n`);
writeFileSync(new URL('../docs/images/performance.svg', import.meta.url), drawChart(found));
putTable(found);
console.table(results);

async function measured(how) {
  const child = fork(fileURLToPath(import.meta.url), ['one', JSON.stringify(how)]);
  return new Promise((resolve, reject) => {
    child.on('message', resolve);
    child.on('exit', (code) => code === 0 || reject(new Error(`${how.name} failed.`)));
  });
}

async function one({ does, name, format, kind, provider, turns = TURNS }) {
  const bare = await bareSides();
  const other = peers().find((peer) => peer.name === name);
  const side = other === undefined ? await ameshSide({ does, format, kind, provider }) : other[does];
  const [floor, found] = await takeTurns([bare[does], side], turns);
  const key = other?.key ?? 'P-256';
  return {
    does,
    name,
    key,
    us: round(found.us, 1),
    bareUs: round(floor.us, 1),
    ratio: round(found.ratio, 2),
  };
}

/** Puts the table between the two marks of the page. */
function putTable({ date, machine, node, results }) {
  const page = new URL('../docs/performance.md', import.meta.url);
  const of = (does, name) => results.find((each) => each.does === does && each.name === name);
  const cell = (each) =>
    each === undefined ? '–' : `${each.ratio.toFixed(2)} × (${Math.round(each.us)} µs)`;
  const names = [...new Set(results.map(({ name }) => name))];
  const lines = names.map((name) => {
    const [verify, sign] = [of('verify', name), of('sign', name)];
    return `| ${name} | ${(verify ?? sign).key} | ${cell(verify)} | ${cell(sign)} |`;
  });
  const table = [
    `Measured on ${date}, on ${machine}, Node ${node.slice(1)}.`,
    '',
    '| | key | verify | sign |',
    '| --- | --- | --- | --- |',
    ...lines,
  ].join('\n');
  const text = readFileSync(page, 'utf8');
  writeFileSync(
    page,
    text.replace(
      /(<!-- table -->\n)[\s\S]*?(\n<!-- end of table -->)/,
      (_, start, end) => `${start}\n${table}\n${end}`,
    ),
  );
}
