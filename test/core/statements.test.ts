import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { toLowS } from '../../src/core/crypto/low-s';
import { isOnCurve } from '../../src/core/crypto/points';
import { toBase64Url } from '../../src/core/encoding';
import { readStatement } from '../../src/core/statements/read-statement';
import { type StatementClaims, toStatementInput } from '../../src/core/statements/statement';

const device = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { x = '', y = '' } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
  format: 'jwk',
});

const CLAIMS: StatementClaims = {
  kind: 'request',
  deviceId: 'am_0123456789abcdef',
  x,
  y,
  issuedAt: 1_700_000_000,
  expiresAt: 1_700_003_600,
  id: 'AAAAAAAAAAAAAAAAAAAAAA',
};
const DELEGATION = {
  name: 'report-agent',
  scopes: ['orders:read', 'reports:*'],
  targets: ['am_0123456789abcdef'],
};

function signed(input: string): string {
  const signature = sign('sha256', Buffer.from(input), { key: device.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${toBase64Url(toLowS(signature))}`;
}
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A statement whose header and payload are changed, and which is then signed. */
function changed({ header = {}, payload = {} }: { header?: object; payload?: object }): string {
  const [first = '', second = ''] = toStatementInput(CLAIMS).split('.');
  const parse = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object;
  return signed(`${encode({ ...parse(first), ...header })}.${encode({ ...parse(second), ...payload })}`);
}

describe('A statement about a working key', () => {
  it('is read back as it was written', () => {
    for (const claims of [
      CLAIMS,
      { ...CLAIMS, delegation: DELEGATION },
      { ...CLAIMS, kind: 'answer' as const },
    ]) {
      const text = signed(toStatementInput(claims));
      expect(readStatement(text, claims.kind)).toMatchObject({ ...claims, input: toStatementInput(claims) });
      expect(readStatement(text, claims.kind === 'request' ? 'answer' : 'request')).toBeNull();
    }
  });

  const [head = '', body = ''] = toStatementInput(CLAIMS).split('.');
  const json = Buffer.from(body, 'base64url').toString();
  const good = signed(`${head}.${body}`);
  it.each<[string, string]>([
    ['no text', ''],
    ['two parts', `${head}.${body}`],
    ['four parts', `${good}.`],
    ['more than 1,024 characters', `${good}${'A'.repeat(1024)}`],
    ['no signature in the last part', `${head}.${body}.${'A'.repeat(85)}`],
    ['a line end after it', `${good}\n`],
    ['another alg', changed({ header: { alg: 'none' } })],
    ['another typ', changed({ header: { typ: 'amesh-grant+jwt' } })],
    ['one member more in its header', changed({ header: { kid: 'x' } })],
    ['one claim more', changed({ payload: { nbf: 0 } })],
    ['one claim less', changed({ payload: { jti: undefined } })],
    [
      'a doubled member',
      signed(`${head}.${Buffer.from(json.replace('{', '{"exp":9,')).toString('base64url')}`),
    ],
    ['a space in its JSON', signed(`${head}.${Buffer.from(json.replace(':', ': ')).toString('base64url')}`)],
    [
      'members in another order',
      signed(`${head}.${encode({ cnf: { jwk: { kty: 'EC', crv: 'P-256', x, y } }, ...JSON.parse(json) })}`),
    ],
    ['d in its cnf', changed({ payload: { cnf: { jwk: { kty: 'EC', crv: 'P-256', x, y, d: x } } } })],
    [
      'a kid next to the jwk',
      changed({ payload: { cnf: { jwk: { kty: 'EC', crv: 'P-256', x, y }, kid: 'x' } } }),
    ],
    ['another curve', changed({ payload: { cnf: { jwk: { kty: 'EC', crv: 'P-384', x, y } } } })],
    ['no cnf', changed({ payload: { cnf: null } })],
    [
      'x and y exchanged, which is off the curve',
      changed({ payload: { cnf: { jwk: { kty: 'EC', crv: 'P-256', x: y, y: x } } } }),
    ],
    ['an issuer that is not a device', changed({ payload: { iss: 'someone' } })],
    ['an end before its beginning', changed({ payload: { exp: CLAIMS.issuedAt } })],
    ['a life of over a day', changed({ payload: { exp: CLAIMS.issuedAt + 86_401 } })],
    ['times as text', changed({ payload: { iat: '1700000000' } })],
    ['a time that is not whole', changed({ payload: { iat: 1_700_000_000.5 } })],
    ['a negative time', changed({ payload: { iat: -1 } })],
    ['a scope without a name', changed({ payload: { scope: 'orders:read', aud: [CLAIMS.deviceId] } })],
    ['a name without a scope', changed({ payload: { sub: 'agent' } })],
    ['a delegation to no target', changed({ payload: { sub: 'agent', scope: 'orders:read', aud: [] } })],
    ['scopes out of order', changed({ payload: { sub: 'agent', scope: 'b a', aud: [CLAIMS.deviceId] } })],
    ['a scope twice', changed({ payload: { sub: 'agent', scope: 'a a', aud: [CLAIMS.deviceId] } })],
    ['an empty scope', changed({ payload: { sub: 'agent', scope: '', aud: [CLAIMS.deviceId] } })],
    ['a name with a space', changed({ payload: { sub: 'an agent', scope: 'a', aud: [CLAIMS.deviceId] } })],
    ['aud as text', changed({ payload: { sub: 'agent', scope: 'a', aud: CLAIMS.deviceId } })],
    ['an array in place of claims', signed(`${head}.${encode([])}`)],
  ])('is refused with %s', (_, text) => {
    expect(readStatement(text, 'request')).toBeNull();
  });

  it('is refused with the high s, which would be a second text of the same statement', () => {
    const tail = Buffer.from(good.split('.')[2] as string, 'base64url');
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const s = (order - BigInt(`0x${tail.subarray(32).toString('hex')}`)).toString(16).padStart(64, '0');
    const high = Buffer.concat([tail.subarray(0, 32), Buffer.from(s, 'hex')]);
    expect(readStatement(`${head}.${body}.${high.toString('base64url')}`, 'request')).toBeNull();
  });
});

describe('isOnCurve()', () => {
  it('accepts the points of generated keys, and no others', () => {
    expect(isOnCurve({ x, y })).toBe(true);
    expect(isOnCurve({ x: y, y: x })).toBe(false);
    expect(isOnCurve({ x, y: x })).toBe(false);
    expect(isOnCurve({ x: `${x}A`, y })).toBe(false);
    expect(isOnCurve({ x: '_'.repeat(42).concat('8'), y })).toBe(false); // beyond the field
    expect(isOnCurve({ x: 'A'.repeat(43), y: 'A'.repeat(43) })).toBe(false);
  });
});
