import { isUtf8 } from 'node:buffer';

/** A line without its line ending, or why it cannot be read. */
export type Line = { readonly text: string } | { readonly problem: string };

const LINE_FEED = 0x0a;

/**
 * Reads lines of UTF-8. A line that is longer than the limit is skipped to its end, and never kept in memory.
 *
 * @param maxBytes the most bytes of one line
 */
export async function* readLines(
  input: AsyncIterable<Uint8Array | string>,
  maxBytes: number,
): AsyncGenerator<Line> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  const add = (part: Uint8Array) => {
    length += part.length;
    if (length > maxBytes) chunks = [];
    else if (part.length > 0) chunks.push(part);
  };
  const take = (): Line | undefined => {
    const [bytes, size] = [Buffer.concat(chunks), length];
    chunks = [];
    length = 0;
    if (size > maxBytes) return { problem: `The message is longer than ${maxBytes} bytes.` };
    if (!isUtf8(bytes)) return { problem: 'The message is not UTF-8.' };
    const text = bytes.toString().replace(/\r$/, '');
    return text.trim() === '' ? undefined : { text };
  };
  for await (const chunk of input) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    let start = 0;
    for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
      add(bytes.subarray(start, end));
      start = end + 1;
      const line = take();
      if (line !== undefined) yield line;
    }
    add(bytes.subarray(start));
  }
  const last = take();
  if (last !== undefined) yield last;
}
