// Whether amesh has become slower: each ratio of bench/results.json is measured five times, and the best one counts. Exits with 1 if
// it is more than 25 % worse than the stored one, or with --report only says so.
import { readFileSync } from 'node:fs';
import { ameshSide, bareSides, VIEW } from './operations.mjs';
import { round, takeTurns } from './turns.mjs';

const RUNS = 5;
const TURNS = 48;
const WORSE = 1.25;
const SIDES = [
  { name: 'amesh, AuthMesh header', format: 'authmesh' },
  { name: 'amesh, RFC 9421', format: 'rfc9421' },
];

/** Work of some µs that has nothing to do with signatures. */
const GIVEN = {
  ...VIEW,
  body: Array.from({ length: 12 }, (_, i) => ({ name: `x-${i}`, value: 'a'.repeat(20) })),
};
const otherWork = () => JSON.parse(JSON.stringify(GIVEN));

/**
 * The ratio of an operation to the bare one, without what this machine adds to a native operation that comes after any other code. On
 * some machines that is a tenth of a signature, on others nothing, and the stored ratios may come from another one.
 */
async function ratioOf(native, side) {
  const both = () => {
    otherWork();
    native();
  };
  const [one, work, pair, own] = await takeTurns([native, otherWork, both, side], TURNS);
  return (own.us - Math.max(0, pair.us - one.us - work.us)) / one.us;
}

const { results } = JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8'));
const bare = await bareSides();
const rows = [];
for (const does of ['verify', 'sign'])
  for (const { name, format } of SIDES) {
    const stored = results.find((each) => each.does === does && each.name === name).ratio;
    const side = await ameshSide({ does, format });
    const ratios = [];
    for (let i = 0; i < RUNS; i++) ratios.push(await ratioOf(bare[does], side));
    rows.push({ does, name, stored, best: round(Math.min(...ratios), 2) });
  }
console.table(rows);
const slower = rows.filter(({ stored, best }) => !(best <= stored * WORSE));
for (const { does, name, stored, best } of slower)
  console.error(`Slower: ${does}, ${name}: ${best} × a bare one, and ${stored} before.`);
process.exitCode = slower.length === 0 || process.argv.includes('--report') ? 0 : 1;
