import { open, readFile } from 'node:fs/promises';

/**
 * Counts how often texts and bytes are in the memory of a process of this user: all that a core dump contains. Linux only.
 *
 * @returns the count for each name
 */
export async function searchMemory<Name extends string>(
  pid: number,
  wanted: Readonly<Record<Name, Uint8Array>>,
): Promise<Record<Name, number>> {
  const found = Object.fromEntries(Object.keys(wanted).map((name) => [name, 0])) as Record<Name, number>;
  const maps = (await readFile(`/proc/${pid}/maps`, 'latin1')).split('\n');
  const memory = await open(`/proc/${pid}/mem`);
  try {
    for (const line of maps) {
      const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      if (from === '') continue;
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      for (let at = start; at < end; at += CHUNK_BYTES) {
        const length = Math.min(CHUNK_BYTES + OVERLAP_BYTES, end - at);
        const bytes = await read(memory, at, length);
        for (const [name, needle] of Object.entries<Uint8Array>(wanted))
          found[name as Name] += countIn(bytes, needle);
      }
    }
  } finally {
    await memory.close();
  }
  return found;
}

const CHUNK_BYTES = 1 << 20;
/** What lies across two chunks is in one of them whole. */
const OVERLAP_BYTES = 4096;

async function read(memory: Awaited<ReturnType<typeof open>>, at: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await memory.read(buffer, 0, length, at).catch(() => ({ bytesRead: 0 }));
  if (bytesRead === length) return buffer;
  // A page was unmapped meanwhile, but not those around it.
  for (let page = 0; page < length; page += PAGE_BYTES)
    await memory.read(buffer, page, Math.min(PAGE_BYTES, length - page), at + page).catch(() => {});
  return buffer;
}

const PAGE_BYTES = 4096;

function countIn(bytes: Buffer, needle: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(needle); at !== -1 && at < CHUNK_BYTES; at = bytes.indexOf(needle, at + 1))
    count++;
  return count;
}

/** A text as JavaScript may keep it: in UTF-8 or Latin-1, and in UTF-16. */
export function asText(text: string): { readonly utf8: Uint8Array; readonly utf16: Uint8Array } {
  return { utf8: Buffer.from(text), utf16: Buffer.from(text, 'utf16le') };
}

/** A scalar as bytes, as OpenSSL keeps it on these machines (its words begin with the lowest byte), and as a JWK writes it. */
export function asScalar(d: string): { raw: Uint8Array; native: Uint8Array; jwk: Uint8Array } {
  const raw = Buffer.from(d, 'base64url');
  return { raw, native: Buffer.from(raw).reverse(), jwk: Buffer.from(d) };
}
