import { CODES } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { COMMAND_CODES } from '../../src/cli/src/codes';
import { vectors } from '../support/vectors';
import { headingsOf, readPage } from './blocks';

const PAGE = 'docs/errors.md';

const entries = new Map(
  readPage(PAGE)
    .split(/^### /m)
    .slice(1)
    .map((section) => {
      const [code = '', ...lines] = section.split(/^## /m)[0]?.split('\n') ?? [];
      return [code.trim(), lines.join('\n')];
    }),
);

describe(PAGE, () => {
  it('has every code once, in the order of the list', () => {
    const documented = headingsOf(PAGE).filter(({ level }) => level === 3);
    expect(documented.map(({ text }) => text)).toEqual(Object.keys(CODES));
  });

  it.each(Object.entries(CODES))('%s says status, what the client sees, cause and fix', (code, facts) => {
    const entry = entries.get(code) ?? '';
    const seen = /^HTTP (\d{3}), the client sees `(\w+)`/m.exec(entry);
    if ('status' in facts) expect([Number(seen?.[1]), seen?.[2]]).toEqual([facts.status, facts.wire]);
    else {
      expect(seen).toBeNull();
      expect(entry).toMatch(/^Never on the wire[.:]/m);
    }
    expect(entry).toMatch(/^\*\*Cause:\*\* \S/m);
    expect(entry).toMatch(/^\*\*Fix:\*\* \S/m);
  });
});

describe(`${PAGE}, of the command line alone`, () => {
  const [, section = ''] = readPage(PAGE).split('\n## Of the command line alone\n');
  const rows = [...section.matchAll(/^\| `(\w+)` \| [\d, ]+ \| \S.* \| \S.* \|$/gm)];

  it('has every code of its own once, in their order, and none of the SDK', () => {
    expect(rows.map(([, code]) => code)).toEqual(COMMAND_CODES);
    for (const code of COMMAND_CODES) expect(CODES).not.toHaveProperty(code);
  });
});

describe('docs/protocol.md', () => {
  it('says how many vectors there are', () => {
    expect(readPage('docs/protocol.md')).toContain(`which has ${vectors.cases.length} cases`);
  });

  const rows = [
    ...readPage('docs/protocol.md').matchAll(/^\| \d \|.*\| `(\w+)` \| (\d{3}) \| `(\w+)` \|$/gm),
  ];

  it('has the checks of a verifier in their order', () => {
    const codes = Object.keys(CODES);
    const order = rows.map(([, code = '']) => codes.indexOf(code));
    expect(order).not.toContain(-1);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    // All that a verifier finds but a body that breaks off, which is no check.
    expect(rows).toHaveLength(codes.indexOf('body_incomplete'));
  });

  it.each(rows.map(([, code = '', status = '', wire = '']) => ({ code, status, wire })))(
    '$code is $status and shown as $wire',
    ({ code, status, wire }) => {
      expect(CODES[code as keyof typeof CODES]).toMatchObject({ status: Number(status), wire });
    },
  );
});
