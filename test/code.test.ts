import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Every source that is published, as paths from the root. */
const SOURCES = ['src', 'relay/src'].flatMap((folder) =>
  readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /(?<!\.config)\.ts$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .filter((path) => !/node_modules|dist\//.test(path)),
);

const MAX_LINES = 60;
/** A longer function needs a comment above it that begins with `Long:` and says why. */
const REASON = /^\s*(?:\/\/|\*) Long: \S/m;

interface Found {
  readonly name: string;
  readonly lines: number;
}

const sources = new Map<string, ts.SourceFile>();

/** Each source is parsed once. */
function parsed(path: string, text: string): ts.SourceFile {
  const source = sources.get(text) ?? ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  sources.set(text, source);
  return source;
}

/** The functions and methods of a source that are too long, except those with a reason. */
function tooLong(path: string, text: string): Found[] {
  const source = parsed(path, text);
  const found: Found[] = [];
  const lineOf = (at: number) => source.getLineAndCharacterOfPosition(at).line;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const lines = lineOf(node.end) - lineOf(node.getStart()) + 1;
      const hasReason = REASON.test(text.slice(node.pos, node.getStart()));
      if (lines > MAX_LINES && !hasReason) found.push({ name: nameOf(node), lines });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function nameOf(node: ts.SignatureDeclaration): string {
  const { name, parent } = node;
  if (name !== undefined) return name.getText();
  return ts.isVariableDeclaration(parent) || ts.isPropertyAssignment(parent)
    ? parent.name.getText()
    : '(a function)';
}

/** The calls that pass a bare `true` or `false`, as text. */
function bareBooleans(path: string, text: string): string[] {
  const source = parsed(path, text);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) || ts.isNewExpression(node)) {
      const isBoolean = ({ kind }: ts.Node) =>
        kind === ts.SyntaxKind.TrueKeyword || kind === ts.SyntaxKind.FalseKeyword;
      if (node.arguments?.some(isBoolean)) found.push(node.getText());
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe('a function', () => {
  it('is found with its length, and passes with a reason', () => {
    const body = `{${'\n'.repeat(MAX_LINES)}}`;
    expect(tooLong('a.ts', `function f() ${body}`)).toEqual([{ name: 'f', lines: MAX_LINES + 1 }]);
    expect(tooLong('a.ts', `class A { m() ${body} }`)).toEqual([{ name: 'm', lines: MAX_LINES + 1 }]);
    expect(tooLong('a.ts', `const g = () => ${body};`)).toEqual([{ name: 'g', lines: MAX_LINES + 1 }]);
    expect(tooLong('a.ts', `// Long: a table.\nfunction f() ${body}`)).toEqual([]);
    expect(tooLong('a.ts', `function f() {${'\n'.repeat(MAX_LINES - 1)}}`)).toEqual([]);
  });

  it(`has at most ${MAX_LINES} lines`, () => {
    const found = SOURCES.map(
      (path) => [path, tooLong(path, readFileSync(join(root, path), 'utf8'))] as const,
    );
    expect(found.filter(([, functions]) => functions.length > 0)).toEqual([]);
  });
});

/** Functions of the platform, and those that only settle a promise: everybody calls them with a bare `true`. */
const PLATFORM =
  /^(?:crypto\.)?subtle\.|^p256\.|^stdin\.setRawMode|^question\?\.prompt|^(?:Promise\.)?resolve\(|^conclude\(/;

describe('a call', () => {
  it('is found if it passes a bare boolean', () => {
    expect(bareBooleans('a.ts', 'f(a, true); new G(false); h({ isOpen: true }); i(a === b);')).toEqual([
      'f(a, true)',
      'new G(false)',
    ]);
  });

  it('passes no bare boolean, since a name says what it means', () => {
    const found = SOURCES.flatMap((path) =>
      bareBooleans(path, readFileSync(join(root, path), 'utf8')).map((call) => [path, call]),
    );
    expect(found.filter(([, call = '']) => !PLATFORM.test(call))).toEqual([]);
  });
});

describe('what is written once', () => {
  it.each([
    ['a strict TextDecoder', /fatal: true/, ['src/core/encoding.ts']],
    ['the check of all members', /Object\.keys\([^)]*\)\.sort\(\)\.join/, []],
    [
      'a race against a timer',
      /Promise\.race\(/,
      [
        'relay/src/store/cluster.ts', // the relay imports nothing of the SDK
        'relay/src/store/redis-link.ts',
        'src/cli/src/doctor/finding.ts', // a check that is too slow may still say why
        'src/core/answers/hold-back.ts', // no timer: one turn of the event loop against a body
        'src/core/within.ts',
        'src/pairing/relay/session.ts', // no timer: a person against the peer
      ],
    ],
  ])('%s', (_, pattern, files) => {
    expect(SOURCES.filter((path) => pattern.test(readFileSync(join(root, path), 'utf8'))).sort()).toEqual(
      files,
    );
  });

  it('no sentence of ours is taken apart', () => {
    // These read messages of others: Redis, ws, Node, the keychain.
    const foreign = /^src\/storage\/redis\/|^src\/keys\/keychain\/|^relay\/src\/store\//;
    const cut = /\b(?:message|detail|fix|hint)\)?\??\.(?:replace|split|match|startsWith|endsWith|search)\(/;
    const found = SOURCES.filter((path) => !foreign.test(path)).flatMap((path) =>
      readFileSync(join(root, path), 'utf8')
        .split('\n')
        .filter((line) => cut.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    );
    expect(found).toEqual([
      // This fills in a template of the table.
      expect.stringMatching(/^src\/core\/sign\/refusal\.ts: .*fix\.replace\('\{host\}'/),
    ]);
  });
});
