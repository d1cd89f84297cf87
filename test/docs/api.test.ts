import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { ROOT } from './blocks';

const { compilerOptions } = ts.parseConfigFileTextToJson(
  'tsconfig.json',
  readFileSync(`${ROOT}tsconfig.json`, 'utf8'),
).config;
const { options } = ts.convertCompilerOptionsFromJson(compilerOptions, ROOT);

/** The published entries and the sources behind them. */
const entries = Object.entries(compilerOptions.paths as Record<string, string[]>)
  .filter(([name]) => /^@authmesh\/(?:sdk|relay)/.test(name))
  .map(([name, [path = '']]) => ({ name, path: `${ROOT}${path.slice(2)}` }));

const program = ts.createProgram(
  entries.map(({ path }) => path),
  options,
);
const checker = program.getTypeChecker();

interface Exported {
  readonly entry: string;
  readonly name: string;
  readonly symbol: ts.Symbol;
}

const exported: Exported[] = entries.flatMap(({ name: entry, path }) => {
  const source = program.getSourceFile(path);
  const module = source && checker.getSymbolAtLocation(source);
  if (module === undefined) throw new Error(`${path} exports nothing.`);
  return checker
    .getExportsOfModule(module)
    .map((symbol) => ({ entry, name: symbol.name, symbol: classOf(resolve(symbol)) }));
});

function resolve(symbol: ts.Symbol): ts.Symbol {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

/** The class for which a type stands that is exported in its place. */
function classOf(symbol: ts.Symbol): ts.Symbol {
  if (!(symbol.flags & ts.SymbolFlags.TypeAlias)) return symbol;
  const target = checker.getDeclaredTypeOfSymbol(symbol).getSymbol();
  return target && target.flags & ts.SymbolFlags.Class ? target : symbol;
}

function isOurs(symbol: ts.Symbol): boolean {
  return (symbol.declarations ?? []).every((declaration) => {
    const { fileName } = declaration.getSourceFile();
    return fileName.startsWith(ROOT) && !fileName.includes('/node_modules/');
  });
}

/** The types of ours that somebody has to be able to name who uses a declaration. */
function typesIn(declaration: ts.Node): ts.Symbol[] {
  const found: ts.Symbol[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isBlock(node) || isHidden(node)) return;
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : undefined;
    const symbol = name && checker.getSymbolAtLocation(name);
    if (symbol !== undefined) {
      const target = resolve(symbol);
      if (!(target.flags & ts.SymbolFlags.TypeParameter) && isOurs(target)) found.push(target);
    }
    ts.forEachChild(node, visit);
  };
  visit(declaration);
  return found;
}

/** What does not get into a declaration file: private members, and the values of constants. */
function isHidden(node: ts.Node): boolean {
  if (ts.isClassElement(node) || ts.isParameter(node)) {
    if (node.name !== undefined && ts.isPrivateIdentifier(node.name)) return true;
    return (ts.getCombinedModifierFlags(node as ts.Declaration) & ts.ModifierFlags.Private) !== 0;
  }
  return ts.isExpression(node) && !ts.isExpressionWithTypeArguments(node);
}

describe('what is exported', () => {
  it.each(entries)('by $name has a docstring', ({ name: entry }) => {
    const bare = exported
      .filter((each) => each.entry === entry && isOurs(each.symbol))
      .filter(
        ({ symbol }) =>
          symbol.getDocumentationComment(checker).length + symbol.getJsDocTags(checker).length === 0,
      );
    expect(bare.map(({ name }) => name)).toEqual([]);
  });

  it.each(entries)('by $name uses no type that nobody can name', ({ name: entry }) => {
    const nameable = new Set(exported.map(({ symbol }) => symbol));
    const hidden = exported
      .filter((each) => each.entry === entry)
      .flatMap(({ name, symbol }) =>
        (symbol.declarations ?? []).flatMap(typesIn).map((type) => ({ name, type })),
      )
      .filter(({ type }) => !nameable.has(type));
    expect([...new Set(hidden.map(({ name, type }) => `${name}: ${type.name}`))]).toEqual([]);
  });
});
