import { CODES } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { errorsPage } from '../../scripts/errors-page';
import { COMMAND_CODES } from '../../src/cli/src/errors/codes';
import { vectors } from '../support/vectors';
import { headingsOf, ROOT, readPage } from './blocks';

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
  // `npm run docs:errors` writes it anew.
  it('is what the code tables make of it', async () => {
    await expect(errorsPage(CODES, COMMAND_CODES, readPage(PAGE))).toMatchFileSnapshot(`${ROOT}${PAGE}`);
  });

  // The order within a section is that of the list, which the test above compares.
  it('has every code once', () => {
    const documented = headingsOf(PAGE).filter(({ level }) => level === 3);
    expect(documented.map(({ text }) => text).sort()).toEqual(Object.keys(CODES).sort());
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

describe('what makes the page', () => {
  const facts = { cause: 'It is wrong.', fix: 'Mend it.' };
  const page = (...entries: string[]) =>
    `# Codes\n\n- [Old](#old)\n\n## All\n\n${entries.join('')}## Codes of the command line\n\n| code |\n| \`b\` |\n| \`a\` |\n`;
  const make = (codes: Record<string, object>, text: string) =>
    errorsPage(codes as Parameters<typeof errorsPage>[0], ['a', 'b'], text);
  const first = '### first\n\nHTTP 401, the client sees `first`.\n\n**Cause:** written.\n\n';

  it('keeps what people wrote, and takes order, status and client view from the tables', () => {
    const codes = { first: { ...facts, status: 400, wire: 'seen' }, second: facts };
    expect(
      make(codes, page('### second\n\nHTTP 500, the client sees `second`.\n\n**Cause:** own.\n\n', first)),
    ).toBe(
      `# Codes\n\n- [All](#all)\n- [Codes of the command line](#codes-of-the-command-line)\n\n## All\n\n${first.replace('401, the client sees `first`', '400, the client sees `seen`')}### second\n\nNever on the wire.\n\n**Cause:** own.\n\n## Codes of the command line\n\n| code |\n| \`a\` |\n| \`b\` |\n`,
    );
  });

  it('gives a new code the texts of the table, after the code before it', () => {
    const made = make({ first: { ...facts, status: 401, wire: 'first' }, added: facts }, page(first));
    expect(made).toContain(
      `${first}### added\n\nNever on the wire.\n\n**Cause:** It is wrong.\n\n**Fix:** Mend it.\n\n## Codes of`,
    );
  });

  it('never drops text silently', () => {
    expect(() => make({}, page(first))).toThrow('docs/errors.md describes first twice, or it is no code.');
    expect(() => make({ first: facts }, page(first).replace('| `a` |\n', ''))).toThrow(
      'does not fit its codes: a.',
    );
  });
});

describe(`${PAGE}, for the command line only`, () => {
  const [, section = ''] = readPage(PAGE).split('\n## Codes of the command line\n');
  const rows = [...section.matchAll(/^\| `(\w+)` \| [\d, ]+ \| \S.* \| \S.* \|$/gm)];

  it('has every code of its own once, in their order, and none of the SDK', () => {
    expect(rows.map(([, code]) => code)).toEqual(COMMAND_CODES);
    for (const code of COMMAND_CODES) expect(CODES).not.toHaveProperty(code);
  });
});

describe('skills/authmesh/SKILL.md', () => {
  it('says what each 401 means', () => {
    const refusals = Object.entries(CODES).filter(([, facts]) => 'status' in facts && facts.status === 401);
    const rows = [...readPage('skills/authmesh/SKILL.md').matchAll(/^\| `(\w+)` \| \S.* \| \S.* \|$/gm)];
    expect(rows.map(([, code]) => code)).toEqual(refusals.map(([code]) => code));
  });
});

describe('docs/protocol.md', () => {
  it('says how many vectors there are', () => {
    expect(readPage('docs/protocol.md')).toContain(`which has ${vectors.cases.length} cases`);
  });

  const rows = [
    ...readPage('docs/protocol.md').matchAll(/^\| \d+ \|.*\| `(\w+)` \| (\d{3}) \| `(\w+)` \|$/gm),
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
