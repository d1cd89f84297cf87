import { readdirSync, readFileSync } from 'node:fs';
import { amesh, createAmesh } from '@authmesh/sdk';
import { describe, expect, it } from 'vitest';
import { proseOf, ROOT } from './blocks';

/** The rows of the table below a heading of a page: the first cell, and the rest. */
function rowsBelow(page: string, title: string): { names: string[]; text: string }[] {
  const [, section = ''] = proseOf(page).split(`\n## ${title}\n`);
  const [table = ''] = section.split('\n## ');
  return [...table.matchAll(/^\| (`[^|]+`) \| (.+) \|$/gm)].map(([, cell = '', text = '']) => ({
    names: [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
    text,
  }));
}

/** The variables that the sources read: `env.NAME`, `process.env.NAME`, `{ NAME } = process.env`, `readVariable(env, 'NAME')`. */
function variablesRead(): string[] {
  const sources = ['src', 'relay/src'].flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !/(?:^|\/)(?:dist|node_modules)\//.test(path))
      .map((path) => readFileSync(`${ROOT}${folder}/${path}`, 'utf8')),
  );
  const names = sources.flatMap((source) => [...source.matchAll(/\benv(?:\(\))?\.([A-Z_]{4,})\b/g)]);
  const unpacked = sources.flatMap((source) => [...source.matchAll(/\{ ([A-Z_, ]+) \} = process\.env\b/g)]);
  const read = sources.flatMap((source) => [
    ...source.matchAll(/\bread(?:Variable|Path|Secret)\((?:process\.)?env, '([A-Z_]{4,})'/g),
  ]);
  // These are read in lower case, too.
  const proxies = sources.flatMap((source) => [...source.matchAll(/'((?:https?|all|no)_proxy)'/g)]);
  const all = [
    ...proxies.map(([, name = '']) => name.toUpperCase()),
    ...[...names, ...read].map(([, name = '']) => name),
    ...unpacked.flatMap(([, list = '']) => list.split(', ')),
  ];
  return [...new Set(all)].filter((name) => name !== 'TERM').sort(); // the terminal's own, and not for users to set
}

describe('docs/configuration.md', () => {
  it('has every environment variable that the sources read, and no other one', () => {
    const rows = rowsBelow('docs/configuration.md', 'Environment variables').filter(
      ({ text }) => !text.startsWith('*coming*'),
    );
    expect(rows.flatMap(({ names }) => names).sort()).toEqual(variablesRead());
  });
});

describe('docs/server.md', () => {
  it('has every option of verify(), in their order', () => {
    const names = optionsOf(() => amesh.verify({ noSuchOption: true } as never));
    expect(rowsBelow('docs/server.md', 'Options').flatMap((row) => row.names)).toEqual(names);
  });
});

describe('docs/client.md', () => {
  it('has every option of createAmesh(), in their order', () => {
    const names = optionsOf(() => createAmesh({ noSuchOption: true } as never));
    const rows = rowsBelow('docs/client.md', 'Options of createAmesh');
    expect(rows.flatMap((row) => row.names)).toEqual(names);
  });
});

/** The options that are listed where one is not known. */
function optionsOf(call: () => unknown): string[] {
  try {
    call();
  } catch (error) {
    return /Its options are: (.+)\.$/.exec((error as Error).message)?.[1]?.split(', ') ?? [];
  }
  return [];
}
