/** What the code table says of a code. */
interface Facts {
  readonly status?: number;
  readonly wire?: string;
  readonly cause: string;
  readonly fix: string;
  /** What the fix ends with. */
  readonly command?: readonly string[] | undefined;
}

/**
 * docs/errors.md, made from the code tables: which codes there are, in which order, and what a client sees of each. What
 * people have written below a code stays with it; for a code without a text the table's own stands in.
 *
 * @param codes the codes of the SDK, in their order
 * @param commandCodes those of the command line alone, in theirs
 * @param page the page as it is
 * @throws Error for an entry that is no code, and for a code of the command line without a row
 */
export function errorsPage(
  codes: Readonly<Record<string, Facts>>,
  commandCodes: readonly string[],
  page: string,
): string {
  const [intro = '', ...sections] = page.split(/^(?=## )/m).map(readSection);
  const names = Object.keys(codes);
  const missing = new Set(names);
  for (const { texts } of sections.filter(isSection)) {
    for (const code of texts.keys()) {
      if (!missing.delete(code)) throw new Error(`docs/errors.md describes ${code} twice, or it is no code.`);
    }
  }
  // A new code belongs where the one before it in the table is.
  for (const code of missing) {
    const before = names[names.indexOf(code) - 1];
    const section = sections.filter(isSection).find(({ texts }) => before === undefined || texts.has(before));
    const { cause, fix, command } = codes[code] as Facts;
    const advice = command === undefined ? fix : `${fix}: \`${command.join(' ')}\``;
    section?.texts.set(code, `**Cause:** ${cause}\n\n**Fix:** ${advice}\n`);
  }
  const rest = sections.map((section) =>
    isSection(section)
      ? writeSection(section, names, codes)
      : section.startsWith('## Codes of the command line\n')
        ? sortRows(section, commandCodes)
        : section,
  );
  return [withContents(String(intro), rest), ...rest].join('');
}

/** A heading of the second level with entries below it. */
interface Section {
  /** The heading, and what stands between it and the first entry. */
  readonly head: string;
  /** What people have written, by code. */
  readonly texts: Map<string, string>;
}

function isSection(section: Section | string): section is Section {
  return typeof section !== 'string';
}

function readSection(text: string): Section | string {
  const [head = '', ...entries] = text.split(/^### /m);
  if (entries.length === 0) return text;
  const texts = entries.map((entry): [string, string] => {
    const [code = '', ...lines] = entry.split('\n');
    const written = lines
      .join('\n')
      .replace(/^\s*(?:HTTP \d{3}, the client sees `\w+`|Never on the wire)\.\n/, '');
    return [code.trim(), `${written.trim()}\n`];
  });
  return { head, texts: new Map(texts) };
}

function writeSection(
  { head, texts }: Section,
  names: readonly string[],
  codes: Readonly<Record<string, Facts>>,
): string {
  const sorted = [...texts].toSorted(([a], [b]) => names.indexOf(a) - names.indexOf(b));
  const entries = sorted.map(
    ([code, text]) => `### ${code}\n\n${factsLine(codes[code] as Facts)}\n\n${text}\n`,
  );
  return head + entries.join('');
}

function factsLine({ status, wire }: Facts): string {
  return status === undefined ? 'Never on the wire.' : `HTTP ${status}, the client sees \`${wire}\`.`;
}

/** The rows of the table in the order of the codes. */
function sortRows(section: string, codes: readonly string[]): string {
  const rows = new Map([...section.matchAll(/^\| `(\w+)` \|.*\n/gm)].map(([row, code = '']) => [code, row]));
  const wrong = [
    ...codes.filter((code) => !rows.has(code)),
    ...[...rows.keys()].filter((code) => !codes.includes(code)),
  ];
  if (wrong.length > 0)
    throw new Error(
      `The table of the command line in docs/errors.md does not fit its codes: ${wrong.join(', ')}.`,
    );
  const table = [...rows.values()].join('');
  return section.replace(table, codes.map((code) => rows.get(code)).join(''));
}

/** The list of links at the end of the introduction. */
function withContents(intro: string, sections: readonly string[]): string {
  const links = sections.map((section) => {
    const title = section.slice(3, section.indexOf('\n'));
    return `- [${title}](#${title
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-')})\n`;
  });
  return intro.replace(/(?:^- \[.*\n)+/m, links.join(''));
}
