/** In a narrower terminal, wrapping would make text harder to read. */
const MIN_WIDTH = 40;

/** The width of the terminal, in columns; infinite if the output is not a terminal. */
export function widthOfTerminal(stream: { isTTY?: boolean; columns?: number } = process.stdout): number {
  const { isTTY, columns = 0 } = stream;
  return isTTY === true && columns >= MIN_WIDTH ? columns : Number.POSITIVE_INFINITY;
}

/**
 * Wraps a line of a table or of prose between words. Further lines begin below the last column, or one step to the right.
 *
 * @param width the maximum width, in characters
 */
export function wrap(line: string, width: number): string[] {
  if (line.length <= width) return [line];
  const column = /^(?:.*\S)? {2,}(?=\S)/.exec(line)?.[0].length ?? 0;
  const indent = ' '.repeat(column > 0 && column <= width / 2 ? column : leading(line) + 2);
  const lines: string[] = [];
  let rest = line;
  while (rest.length > width) {
    // It does not break within the indentation: that would repeat for ever.
    const space = rest.lastIndexOf(' ', width);
    const cut = space > indent.length ? space : rest.indexOf(' ', width);
    if (cut === -1) break;
    lines.push(rest.slice(0, cut).trimEnd());
    rest = indent + rest.slice(cut).trimStart();
  }
  return [...lines, rest];
}

function leading(line: string): number {
  return line.length - line.trimStart().length;
}
