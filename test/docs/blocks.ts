import { readdirSync, readFileSync } from 'node:fs';

/**
 * The fenced code blocks of the documents. The first word of a block's info string is its language, the second says how
 * a test proves it:
 *
 * | block | what happens to it |
 * | --- | --- |
 * | `ts server` | starts as the target, and stays up until the next server of the page |
 * | `ts client` | runs to its end as the controller, against that server |
 * | `python client`, `go client` | the same in that language; skipped, with what comes of it, where that is not installed |
 * | `ts program` | runs to its end by itself, as the controller |
 * | `ts app` | lines of an Express app, between {@link APP_BEFORE} and {@link APP_AFTER}; a signed request has to pass. `sign=<url>` and `host=<Host header>` where a proxy stands between; `forwarded=<host>` is the X-Forwarded-Host |
 * | `ts h2` | as `server`, called over HTTP/2 |
 * | `ts lambda` | a `handler`, called as the target with the event of a signed request to api.example.com; has to answer 200 |
 * | `ts bun`, `ts deno` | as `server`, on that runtime |
 * | `ts worker` | as `server`, a Worker in workerd, with the target's list in KV and the Durable Objects of nonces |
 * | `sh target`, `sh controller` | runs in bash on that machine, with the built `amesh` |
 * | `sh here` | runs in bash in an empty folder |
 * | `text output` | what the block before it prints, ids and dates aside |
 * | `text log` | lines that the running server has printed |
 * | `text target-screen` | a pseudo-terminal on the target, on which its first line was typed; the next block has the controller's |
 * | `text controller-screen` | what the controller's terminal shows, after two people have paired the two |
 * | `text base` | the signature base of the `http accept` block before it |
 * | `json response` | the body that the `ts client` block before it has got, as its `res` |
 * | `json allow-list` | opens with the seal of the vectors' target |
 * | `http accept now=<seconds>` | passes a verifier at that time |
 * | `http response` | what the running server says to an unsigned request |
 * | `when=paired` behind any of these | is run after the pairing that the page shows further down |
 * | `no-run: <reason>` after any language | is not run; the list in snippets.test.ts has to have it |
 *
 * Programs for Node share one process a side, in which each has its own modules of @authmesh; with AMESH_FULL each is a
 * process. In all that runs, port 3000 is another one that is free, and 3999 one where nobody listens.
 */
export interface Block {
  readonly page: string;
  /** Of its first line, 1-based. */
  readonly line: number;
  readonly language: string;
  readonly kind: string;
  readonly options: Readonly<Record<string, string>>;
  /** Why it is not run, where it is not. */
  readonly noRun: string | undefined;
  readonly text: string;
}

export const ROOT = new URL('../../', import.meta.url).pathname;

/** Every document of the project, as paths from its root. */
export const pages: readonly string[] = [
  ...readdirSync(ROOT),
  ...['docs', 'skills'].flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`, { recursive: true }).map((path) => `${folder}/${path}`),
  ),
]
  .filter((path) => path.endsWith('.md') || path === 'llms.txt')
  .sort();

export function readPage(page: string): string {
  return readFileSync(`${ROOT}${page}`, 'utf8');
}

export const APP_BEFORE = `import express from 'express';
import { amesh, createAmesh, InMemoryNonceStore } from '@authmesh/sdk';
const app = express();
`;

export const APP_AFTER = `
app.post('/api/orders', (req, res) => { res.json({ device: req.authMesh.deviceId }); });
app.listen(3000);
`;

const KINDS: Readonly<Record<string, readonly string[]>> = {
  ts: ['server', 'client', 'program', 'app', 'h2', 'lambda', 'bun', 'deno', 'worker'],
  sh: ['target', 'controller', 'here'],
  text: ['output', 'log', 'base', 'target-screen', 'controller-screen'],
  json: ['response', 'allow-list'],
  http: ['accept', 'response'],
  python: ['client'],
  go: ['client'],
};

/** @throws Error for a block without a language or a kind: none is left out silently */
export function blocksOf(page: string): Block[] {
  const blocks: Block[] = [];
  const lines = readPage(page).split('\n');
  for (let i = 0; i < lines.length; i++) {
    const open = /^ *(`{3,}|~{3,})(.*)$/.exec(lines[i] as string);
    if (open === null) continue;
    const line = i + 1;
    const body: string[] = [];
    for (i++; i < lines.length && !(lines[i] as string).trim().startsWith(open[1] as string); i++)
      body.push(lines[i] as string);
    blocks.push({
      page,
      line,
      ...readInfo((open[2] as string).trim(), `${page}:${line}`),
      text: `${body.join('\n')}\n`,
    });
  }
  return blocks;
}

/** The blocks in the order in which a reader can run them: what is shown before the pairing and needs it comes after it. */
export function inOrder(blocks: readonly Block[]): Block[] {
  const early = blocks.filter(({ options }) => options.when === 'paired');
  const rest = blocks.filter((block) => !early.includes(block));
  const paired = rest.findIndex(({ kind }) => kind === 'controller-screen') + 1;
  if (early.length > 0 && paired === 0) throw new Error(`${early[0]?.page} shows no pairing.`);
  return rest.toSpliced(paired, 0, ...early);
}

function readInfo(info: string, where: string): Pick<Block, 'language' | 'kind' | 'options' | 'noRun'> {
  const [, language = '', rest = ''] = /^(\S*)\s*(.*)$/.exec(info) ?? [];
  const noRun = /^no-run: *(.+)$/.exec(rest)?.[1];
  if (noRun !== undefined) return { language, kind: 'no-run', options: {}, noRun };
  const [kind = '', ...options] = rest.split(/\s+/);
  if (!KINDS[language]?.includes(kind))
    throw new Error(`${where}: no test knows what to do with a block "${info}".`);
  return { language, kind, options: Object.fromEntries(options.map(readOption)), noRun: undefined };
}

function readOption(text: string): [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

export interface Heading {
  readonly level: number;
  readonly text: string;
  /** As GitHub makes it. */
  readonly anchor: string;
}

/** The headings of a page, without those in code. */
export function headingsOf(page: string): Heading[] {
  const seen = new Map<string, number>();
  return [...proseOf(page).matchAll(/^(#{1,6}) +(.+?) *$/gm)].map(([, hashes = '', text = '']) => {
    const plain = text.replace(/[`*]/g, '');
    const slug = plain
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    return { level: hashes.length, text: plain, anchor: count === 0 ? slug : `${slug}-${count}` };
  });
}

/** A page without its code blocks. */
export function proseOf(page: string): string {
  return readPage(page).replace(/^ *(`{3,})[^\n]*\n[\s\S]*?^ *\1 *$/gm, '');
}
