import { describe, expect, it } from 'vitest';
import { createExplain } from '../../src/core/hints';
import type { RequestLine } from '../../src/core/request-line';
import { spellingsOf } from '../../src/core/spellings';

const VIEW = { method: 'GET', target: '/', authority: 'a', headers: {} };
const lineOf = (path: string, query = '?'): RequestLine => ({ method: 'GET', authority: 'a', path, query });

describe('what is tried for a wrong signature', () => {
  it('is bounded for one request, whatever is in it', async () => {
    const hostile = [
      lineOf('/'.repeat(1000)),
      lineOf('/%25'.repeat(250)),
      lineOf('/a/b@c', `?${'a&'.repeat(400)}`),
      lineOf('/%'),
      lineOf('/%ff%fe'),
    ];
    const headers = {
      'x-forwarded-host': Array.from({ length: 500 }, (_, i) => `h${i}`).join(','),
      'x-forwarded-prefix': Array.from({ length: 500 }, (_, i) => `/p${i}`),
      'x-original-uri': Array.from({ length: 500 }, (_, i) => `/q${i}/`),
    };
    const hosts = Array.from({ length: 500 }, (_, i) => `host${i}`);
    for (const line of hostile) {
      let tries = 0;
      const explain = createExplain();
      const count = () => {
        tries++;
        return false;
      };
      expect(await explain(count, line, { ...VIEW, headers }, hosts)).toBeNull();
      expect(tries).toBeLessThanOrEqual(64);
    }
  });

  it('is nothing for a long target', () => {
    expect([...spellingsOf(lineOf(`/${'a'.repeat(1024)}`), VIEW, [])]).toEqual([]);
  });

  it('is limited for all requests together: ten at once', async () => {
    const explain = createExplain();
    let asked = 0;
    const attempt = () => {
      asked++;
      return null; // the first is right
    };
    for (let i = 0; i < 1000; i++) await explain(attempt, lineOf('/a/b'), VIEW, []);
    expect(asked).toBeGreaterThanOrEqual(10);
    expect(asked).toBeLessThan(40); // one more each second, on a machine that is busy
  });

  it('never leaves the form of a target', () => {
    const headers = { 'x-forwarded-prefix': ["/x'\u001b[31m", '/ok'], 'x-original-uri': '/a b/orders' };
    for (const { line } of spellingsOf(lineOf('/orders'), { ...VIEW, headers }, []))
      expect(line.path + line.query).toMatch(/^\/[\x21-\x7e]*$/);
  });
});
