// Whether amesh has become slower: each ratio of bench/results.json is measured five times, and the best one counts. Exits with 1 if
// it is more than 25 % worse than the stored one, or with --report only says so.
import { readFileSync } from 'node:fs';
import { ameshSide, bareSides } from './operations.mjs';
import { round, takeTurns } from './turns.mjs';

const RUNS = 5;
const TURNS = 48;
const WORSE = 1.25;
const SIDES = [
  { name: 'amesh, AuthMesh header', format: 'authmesh' },
  { name: 'amesh, RFC 9421', format: 'rfc9421' },
];

const { results } = JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8'));
const bare = await bareSides();
const rows = [];
for (const does of ['verify', 'sign'])
  for (const { name, format } of SIDES) {
    const stored = results.find((each) => each.does === does && each.name === name).ratio;
    const side = await ameshSide({ does, format });
    const ratios = [];
    for (let i = 0; i < RUNS; i++) ratios.push((await takeTurns([bare[does], side], TURNS))[1].ratio);
    rows.push({ does, name, stored, best: round(Math.min(...ratios), 2) });
  }
console.table(rows);
const slower = rows.filter(({ stored, best }) => !(best <= stored * WORSE));
for (const { does, name, stored, best } of slower)
  console.error(`Slower: ${does}, ${name}: ${best} × a bare one, and ${stored} before.`);
process.exitCode = slower.length === 0 || process.argv.includes('--report') ? 0 : 1;
