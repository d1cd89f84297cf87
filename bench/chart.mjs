const ROW = 22;
const LEFT = 250;
const WIDTH = 760;
const WIDEST = 6;

/** Draws the ratios of verify and sign as bars; a longer one is cut off, and says its value. */
export function drawChart({ date, node, results }) {
  const bars = results.filter(({ ratio }) => Number.isFinite(ratio));
  const scale = (WIDTH - LEFT - 70) / WIDEST;
  const rows = bars.map(({ does, name, ratio }, i) => {
    const y = 50 + i * ROW;
    const length = Math.min(ratio, WIDEST) * scale;
    const color = name.startsWith('amesh') ? '#2563eb' : '#9ca3af';
    return `<text x="${LEFT - 8}" y="${y + 13}" text-anchor="end">${does}: ${name}</text>
<rect x="${LEFT}" y="${y}" width="${length.toFixed(1)}" height="16" fill="${color}"/>
<text x="${(LEFT + length + 6).toFixed(1)}" y="${y + 13}">${ratio.toFixed(2)}</text>`;
  });
  const height = 60 + bars.length * ROW;
  const one = (LEFT + scale).toFixed(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<title>Signatures and checks, as multiples of a bare one</title>
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
<text x="8" y="20" font-size="14">Times of one bare P-256 signature or check; ${date}, Node ${node.slice(1)}</text>
<line x1="${one}" y1="40" x2="${one}" y2="${height - 10}" stroke="#dc2626"/>
${rows.join('\n')}
</svg>
`;
}
