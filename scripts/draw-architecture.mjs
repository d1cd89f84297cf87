// Draws docs/images/architecture.svg: the modules of docs/architecture.md with their imports, and three of its walks. All of it
// comes from the page: the modules from its table, the steps from its numbered lists. test/docs/architecture.test.ts checks it.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);

/** The walks in the picture, by the heading of their list, with what each list in it happens on. */
const WALKS = [
  { heading: 'A request', sides: ['client', 'server'], colour: '#2f6fd0' },
  { heading: 'A revocation', sides: ['amesh revoke', 'each server'], colour: '#c2410c' },
  { heading: 'A provision token', sides: ['new machine', 'issuer'], colour: '#15803d' },
];

const ROW = 40;
const TOP = 64;
const LEFT = 66; // for the arrows past other modules
const BOX = { width: 96, height: 28 };
const STEP = 23;
const GAP = 20; // between walks
const SANS = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif";

/** @returns {string} the picture of a page's modules and walks, as SVG */
export function drawArchitecture(page) {
  const modules = modulesOf(page);
  const order = ['cli', ...Object.keys(modules).reverse()];
  const yOf = (module) => TOP + 24 + order.indexOf(module) * ROW;
  const height = yOf('core') + ROW - 8;
  let x = LEFT + BOX.width + 34;
  const walks = WALKS.map((walk) => {
    const lists = stepsOf(page, walk.heading);
    const from = x;
    const steps = lists.flatMap((list, side) => list.map((step) => ({ ...step, side })));
    const placed = steps.map((step, i) => ({ ...step, x: from + 11 + i * STEP, y: yOf(step.module) }));
    x = from + steps.length * STEP + GAP;
    return { ...walk, steps: placed, from, to: x - GAP };
  });
  const width = x - GAP + 8;
  const guides = order.map(
    (module) => `<path class="guide" d="M${LEFT + BOX.width} ${yOf(module)}H${width - 8}"/>`,
  );
  const boxes = order.map((module) => drawModule(module, yOf(module)));
  const arrows = arrowsOf(modules).map(([from, to], i) => drawArrow(yOf(from), yOf(to), i));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">
<title id="title">The modules of the SDK and their imports, and the steps of three walks: ${WALKS.map(({ heading }) => heading.toLowerCase()).join(', ')}.</title>
<style>
text{font:12px ${SANS};fill:#1f2933}.name{font-weight:600;text-anchor:middle}.walk{font-weight:600;font-size:13px}.side{fill:#5b6875;font-size:11px}
.module{fill:#fff;stroke:#5b6875}.guide{stroke:#e3e8ee}.arrow{fill:none;stroke:#5b6875}.head{fill:#5b6875}.border{stroke:#9aa7b5;stroke-dasharray:3 4}
.step{font:600 10px ${SANS};fill:#fff;text-anchor:middle}.way{fill:none;stroke-width:2;stroke-linejoin:round;opacity:.45}
</style>
<rect width="${width}" height="${height}" rx="8" fill="#f7f9fb"/>
${[...guides, ...arrows, ...boxes, ...walks.map((walk) => drawWalk(walk, height))].join('\n')}
</svg>
`;
}

/** The modules in a page's table, each with the modules that it imports. */
export function modulesOf(page) {
  const [, table = ''] = /## The modules of the SDK\n.*?\n\n(\| module .*?)\n\n/s.exec(page) ?? [];
  const modules = {};
  for (const [, module, imports] of table.matchAll(/^\| `([\w-]+)\/` \|.*\| (.*) \|$/gm)) {
    const all = imports === 'all of the above' ? Object.keys(modules) : imports.split(', ');
    modules[module] = imports === 'nothing' ? [] : all;
  }
  return modules;
}

/** The steps of the numbered lists below a heading: one array for each list, each step with its number, file and module. */
export function stepsOf(page, heading) {
  const [, text] = page.split(`\n## ${heading}\n`);
  if (text === undefined) throw new Error(`The page has no heading "${heading}".`);
  const lists = [];
  let isIn = false;
  for (const line of text.split('\n## ')[0].split('\n')) {
    const [, number, file] = /^(\d+)\. `([^`]+)`/.exec(line) ?? [];
    if (number !== undefined) {
      if (!isIn) lists.push([]);
      lists.at(-1).push({ number: Number(number), file, module: file.split('/')[1] });
    }
    isIn = number !== undefined || (isIn && /^(?: |$)/.test(line));
  }
  return lists;
}

/** The imports that follow from no others, as pairs: who, and whom. */
function arrowsOf(modules) {
  const reaches = (from, to) => modules[from].some((next) => next === to || reaches(next, to));
  const direct = Object.entries(modules).flatMap(([module, imports]) =>
    imports
      .filter((other) => !imports.some((middle) => middle !== other && reaches(middle, other)))
      .map((other) => [module, other]),
  );
  return [['cli', 'entries'], ...direct];
}

function drawModule(module, y) {
  const name = module === 'cli' ? 'src/cli/' : `${module}/`;
  const dash = module === 'cli' ? ' stroke-dasharray="4 3"' : '';
  return `<rect class="module" x="${LEFT}" y="${y - BOX.height / 2}" width="${BOX.width}" height="${BOX.height}" rx="5"${dash}/><text class="name" x="${LEFT + BOX.width / 2}" y="${y + 4}">${name}</text>`;
}

/** Between neighbours straight down; past other modules in a curve to their left. */
function drawArrow(from, to, index) {
  const rows = (to - from) / ROW;
  const x = LEFT + BOX.width / 2;
  if (rows === 1) {
    const end = to - BOX.height / 2;
    return `<path class="arrow" d="M${x} ${from + BOX.height / 2}V${end - 5}"/><path class="head" d="M${x - 4} ${end - 6}h8l-4 6z"/>`;
  }
  const start = from + 3 + (index % 3) * 2;
  const end = to - 4 - (index % 2) * 3;
  const out = LEFT - 6 - rows * 8;
  return `<path class="arrow" d="M${LEFT} ${start}C${out} ${start + 6} ${out} ${end - 6} ${LEFT - 5} ${end}"/><path class="head" d="M${LEFT - 7} ${end - 4}v8l7-4z"/>`;
}

function drawWalk({ heading, sides, colour, steps, from }, height) {
  const first = steps.map(({ side }) => side).indexOf(1);
  const line = steps[first].x - STEP / 2;
  const way = steps.map(({ x, y }, i) => `${i === 0 ? 'M' : 'L'}${x} ${y}`).join('');
  const dots = steps.map(
    ({ number, x, y }) =>
      `<circle cx="${x}" cy="${y}" r="9" fill="${colour}"/><text class="step" x="${x}" y="${y + 3.5}">${number}</text>`,
  );
  return `<text class="walk" x="${from}" y="24" style="fill:${colour}">${heading}</text>
<text class="side" x="${from}" y="44">${sides[0]}</text><text class="side" x="${line + 6}" y="44">${sides[1]}</text>
<path class="border" d="M${line} 34V${height - 10}"/><path class="way" d="${way}" stroke="${colour}"/>
${dots.join('\n')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = readFileSync(new URL('docs/architecture.md', root), 'utf8');
  writeFileSync(new URL('docs/images/architecture.svg', root), drawArchitecture(page));
}
