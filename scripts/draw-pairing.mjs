// Draws docs/images/pairing.svg: the two terminals of README.md while two machines pair. The text is that of the README's
// two screens, which test/docs/snippets.test.ts compares with what the real commands print.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);

const COLUMNS = 58;
const ADVANCE = 6.9; // of one character, in pixels
const LINE = 18;
const GAP = 7; // above each step
const PADDING = 16;
const TITLE = 34;
const GUTTER = 36;
const WINDOW = Math.ceil(COLUMNS * ADVANCE) + 2 * PADDING - 1;
const WIDTH = 2 * WINDOW + GUTTER;

const MONOSPACE =
  "ui-monospace,SFMono-Regular,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace";
const SANS = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif";

/** Lines of the two screens that belong to the same moment, and have the same height. */
const STEPS = [
  { target: /^ +amesh invite/, controller: /^\$ amesh invite/ },
  { target: /^✓ Connected/, controller: /^✓ Found/ },
  { target: /Code on the other screen/, controller: /Type this on/ },
  { target: /^✓ VERIFIED/, controller: /Does the target say/ },
  { target: /may now call this machine/, controller: /^✓ Trusted/ },
];

/** The texts that have a colour of their own, and its class. */
const COLOURS = [
  [/^\$ /, 'prompt'],
  [/^[✓?](?= )/, 'mark'],
  [/\b\d{3} \d{3}\b/, 'code'],
  [/\bVERIFIED\b/, 'mark'],
  [/ws:\/\/\S+|https?:\/\/[^\s')]+/, 'quiet'],
  [/amesh (?:listen|invite|revoke|doctor)\b[^`]*|await amesh\.fetch\(.*\)/, 'command'],
  [/Undo:|Try:|expires in .*|\[y\/N\]/, 'quiet'],
];

/** @returns {string} the picture of two screens, as SVG */
export function drawPairing(target, controller) {
  const rows = align(wrap(target), wrap(controller));
  const height = rows.at(-1).y + PADDING + 2;
  const windows = [
    drawWindow(0, height, 'orders-api', 'the target: receives requests', rows, 'target'),
    drawWindow(WINDOW + GUTTER, height, 'laptop', 'the controller: sends requests', rows, 'controller'),
  ];
  const numbers = rows.flatMap(({ number, y }) => (number === undefined ? [] : [drawStep(number, y)]));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title">
<title id="title">Two terminals: amesh listen on the target and amesh invite on the controller. Both show the code ${/VERIFIED (\d{3} \d{3})/.exec(target)?.[1]}.</title>
<style>
.screen{font:11.5px ${MONOSPACE};fill:#d7dee7;white-space:pre}
.prompt,.quiet{fill:#8b98a8}.mark{fill:#5fd38d;font-weight:bold}.code{fill:#ffcb6b;font-weight:bold}.command{fill:#8ac7ff}
.name{font:600 12.5px ${SANS};fill:#eef2f6}.role{font:12px ${SANS};fill:#9aa7b5}.step{font:600 11px ${SANS};fill:#fff;text-anchor:middle}
</style>
${[...windows, ...numbers].join('\n')}
</svg>
`;
}

/** Breaks lines that are longer than the window, at a gap or else between words; what follows is indented. */
function wrap(text) {
  return text
    .trimEnd()
    .split('\n')
    .flatMap((line) => {
      if (line.length <= COLUMNS) return [line];
      const gap = / {3,}(?=\S)/.exec(line.trimStart())?.[0];
      const at = gap === undefined ? line.lastIndexOf(' ', COLUMNS) : line.lastIndexOf(gap);
      const indent = line.startsWith('  ') ? '    ' : '  ';
      return [line.slice(0, at), indent + line.slice(at).trimStart()];
    });
}

/** Puts the lines of both screens into rows, so that each step begins in one row. */
function align(target, controller) {
  const rows = [];
  const left = [...target];
  const right = [...controller];
  for (const [index, step] of [...STEPS, undefined].entries()) {
    const before = [cut(left, step?.target), cut(right, step?.controller)];
    const height = Math.max(before[0].length, before[1].length);
    for (let i = 0; i < height; i++) {
      const number = i === 0 && index > 0 ? index : undefined;
      rows.push({ target: before[0][i], controller: before[1][i], number, y: baseOf(rows.length, index) });
    }
  }
  return rows;
}

/** Takes the lines off that stand before the one that matches. */
function cut(lines, pattern) {
  const at = pattern === undefined ? lines.length : lines.findIndex((line) => pattern.test(line));
  if (at === -1) throw new Error(`No line of the screen matches ${pattern}.`);
  return lines.splice(0, at);
}

function drawWindow(x, height, name, role, rows, side) {
  const lights = ['#ff5f57', '#febc2e', '#28c840'].map(
    (fill, i) => `<circle cx="${x + 18 + i * 17}" cy="${TITLE / 2}" r="5.5" fill="${fill}"/>`,
  );
  const lines = rows.flatMap((row) => drawLine(row[side] ?? '', x + PADDING, row.y));
  return `<rect x="${x + 0.5}" y="0.5" width="${WINDOW - 1}" height="${height - 1}" rx="9" fill="#12181f" stroke="#4a5563"/>
<path d="M${x + 1} ${TITLE}V10a9 9 0 0 1 9-9H${x + WINDOW - 10}a9 9 0 0 1 9 9V${TITLE}z" fill="#26303b"/>
${lights.join('')}
<text x="${x + 76}" y="${TITLE / 2 + 4.5}"><tspan class="name">${name}</tspan><tspan class="role" dx="9">${role}</tspan></text>
<g class="screen">
${lines.join('\n')}
</g>`;
}

/** Each piece stands where its column is, so that fonts of another width keep the columns. */
function drawLine(line, x, y) {
  return pieces(line).map(({ text, column, colour }) => {
    const length = (text.length * ADVANCE).toFixed(1);
    const classes = colour === undefined ? '' : ` class="${colour}"`;
    return `<text x="${(x + column * ADVANCE).toFixed(1)}" y="${y}" textLength="${length}"${classes}>${escaped(text)}</text>`;
  });
}

/** The words of a line with their column and colour, without the blanks between them. */
function pieces(line) {
  const colours = Array.from(line, () => undefined);
  for (const [pattern, colour] of COLOURS)
    for (const match of line.matchAll(new RegExp(pattern, 'g')))
      for (let i = match.index; i < match.index + match[0].length; i++) colours[i] ??= colour;
  const found = [];
  for (const { 0: text, index } of line.matchAll(/\S+(?: \S+)*/g)) {
    let from = 0;
    for (let i = 1; i <= text.length; i++) {
      if (i < text.length && colours[index + i] === colours[index + from]) continue;
      const part = text.slice(from, i);
      const indent = part.length - part.trimStart().length;
      if (part.trim() !== '')
        found.push({ text: part.trim(), column: index + from + indent, colour: colours[index + from] });
      from = i;
    }
  }
  return found;
}

function drawStep(step, y) {
  const x = WINDOW + GUTTER / 2;
  return `<circle cx="${x}" cy="${y - 4}" r="9" fill="#3b6fd4"/><text class="step" x="${x}" y="${y}">${step}</text>`;
}

function baseOf(row, step) {
  return TITLE + PADDING + 10 + row * LINE + step * GAP;
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** The two screens in a page's text. */
export function screensOf(page) {
  return ['target-screen', 'controller-screen'].map((kind) => {
    const [, text] = new RegExp(`^\`\`\`text ${kind}\n(.*?)^\`\`\``, 'ms').exec(page) ?? [];
    if (text === undefined) throw new Error(`The page has no block "text ${kind}".`);
    return text;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [target, controller] = screensOf(readFileSync(new URL('README.md', root), 'utf8'));
  writeFileSync(new URL('docs/images/pairing.svg', root), drawPairing(target, controller));
}
