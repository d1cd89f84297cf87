import { describe, expect, it, vi } from 'vitest';
import { REQUEST_CODES, SIGNATURE_CODES } from '../../src/core/errors/codes';
import { Fault } from '../../src/core/errors/fault';
import { createExplain, hintFor } from '../../src/core/hints/hints';
import { spellingsOf } from '../../src/core/hints/spellings';
import { checkFreshness } from '../../src/core/verify/freshness';
import type { Credentials } from '../../src/core/wire/credentials';
import { type RequestLine, readRequestLine } from '../../src/core/wire/line';

const VIEW = { method: 'GET', target: '/', authority: 'a', headers: {} };
const lineOf = (path: string, query = '?'): RequestLine => ({ method: 'GET', authority: 'a', path, query });

describe('what the log says about', () => {
  const credentials = { created: 1000 } as Credentials;
  const codes = { ...REQUEST_CODES, ...SIGNATURE_CODES };
  const hint = (code: keyof typeof codes, detail?: string, headers = {}) =>
    hintFor(new Fault(codes[code], detail), 1_010_000, credentials, { ...VIEW, headers });

  it('a signed request whose Authorization was dropped, or replaced', () => {
    const target = { 'authmesh-target': ['am_AAAAAAAAAAAAAAAA'] };
    const key = { 'authmesh-key': ['eyJ.eyJ.AA'] };
    expect(hint('missing_header', undefined, key).detail).toContain('removed its Authorization header');
    expect(hint('missing_header', undefined, target).detail).toContain('removed its Authorization header');
    const replaced = hint('missing_header', undefined, { ...target, authorization: ['Bearer SECRET'] });
    expect(replaced.detail).toContain('another Authorization (Bearer)');
    expect(JSON.stringify(replaced)).not.toContain('SECRET');
    expect(hint('missing_header')).toEqual({});
  });

  const options = { clockSkewSeconds: 30, nonceWindowSeconds: 300 };
  const nowMs = 1_010_000;

  it.each([
    [{ created: 900 }, undefined, 'or the request was delayed: correct the one that is wrong (NTP).'],
    [
      { created: 1100 },
      undefined,
      "The caller's clock is ahead, or this server's is behind: correct the one that is wrong (NTP).",
    ],
    [{ created: 1000, expires: 1005 }, undefined, 'a later "expires"'],
    [{ created: 1000 }, 1011, 'The clocks are right'],
  ])('a time: %j, with a store that remembers since %s', (times, startedAt, fix) => {
    const fault = checkFreshness(times, nowMs, options, startedAt) as Fault;
    expect(hintFor(fault, nowMs, times as Credentials, VIEW).fix).toContain(fix);
  });

  it('an event of Lambda with a decoded path', () => {
    const view = { ...VIEW, target: '/ä' };
    const fault = readRequestLine(view) as Fault;
    expect(hintFor(fault, nowMs, undefined, view)).toEqual({});
    vi.stubEnv('AWS_LAMBDA_FUNCTION_NAME', 'orders');
    expect(hintFor(fault, nowMs, undefined, view).fix).toContain('wrap it with asSent()');
    vi.unstubAllEnvs();
  });
});

describe('what is tried for a wrong signature', () => {
  it('is limited for one request, whatever it contains', async () => {
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
      const explain = createExplain({});
      const count = () => {
        tries++;
        return false;
      };
      expect(await explain(count, line, { ...VIEW, headers }, hosts)).toBeNull();
      expect(tries).toBeLessThanOrEqual(64);
    }
  });

  it.each([
    ['api.example.com', 'The request arrived with that host'],
    ['10.0.0.1:3000', 'A proxy replaced it with upstream'],
  ])('does not blame a proxy for a host that arrived: %s', async (arrived, fix) => {
    const explain = createExplain({});
    const isRight = ({ authority }: RequestLine) => (authority === 'api.example.com' ? null : false);
    const view = { ...VIEW, authority: arrived };
    const fault = await explain(isRight, { ...lineOf('/'), authority: 'upstream' }, view, [
      'api.example.com',
    ]);
    expect(fault?.detail).toBe('The signature is valid for the host api.example.com.');
    expect(fault?.advice?.fix).toContain(fix);
  });

  it('is nothing for a long target', () => {
    expect([...spellingsOf(lineOf(`/${'a'.repeat(1024)}`), VIEW, [])]).toEqual([]);
  });

  it('is limited for all requests together: ten at the same time', async () => {
    const explain = createExplain({});
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
