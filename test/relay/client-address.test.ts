import { describe, expect, it } from 'vitest';
import { toLimitKey } from '../../relay/src/limits/address';
import {
  createClientAddress,
  readTrustedProxies,
  type TrustedProxies,
} from '../../relay/src/net/client-address';

function addressOf(trusted: TrustedProxies | undefined, remoteAddress: string, forwarded?: string): string {
  const request = { socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } };
  return createClientAddress(trusted)(request as never);
}

describe('the address of a client', () => {
  it.each<[TrustedProxies | undefined, string, string | undefined, string]>([
    [undefined, '203.0.113.1', '1.1.1.1', '203.0.113.1'],
    [undefined, '::ffff:203.0.113.1', undefined, '203.0.113.1'],
    [1, '10.0.0.1', undefined, '10.0.0.1'],
    [1, '10.0.0.1', '1.1.1.1', '1.1.1.1'],
    [1, '10.0.0.1', '6.6.6.6, 1.1.1.1', '1.1.1.1'],
    [2, '10.0.0.1', '6.6.6.6, 1.1.1.1, 10.0.0.2', '1.1.1.1'],
    [1, '10.0.0.1', '6.6.6.6, nonsense', '10.0.0.1'],
    [1, '10.0.0.1', '6.6.6.6,', '10.0.0.1'],
    [['10.0.0.0/8'], '10.0.0.1', '6.6.6.6, 1.1.1.1, 10.9.9.9', '1.1.1.1'],
    [['10.0.0.0/8'], '11.0.0.1', '1.1.1.1', '11.0.0.1'],
    [['10.0.0.0/8'], '::ffff:10.0.0.1', '1.1.1.1', '1.1.1.1'],
    [['10.0.0.0/8'], '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    [['fd00::/8'], 'fd12::1', '[2001:db8::1]:443', '2001:db8::1'],
    [['127.0.0.1'], '127.0.0.1', '1.1.1.1:5000', '1.1.1.1'],
    [['fe80::/10'], 'fe80::1%eth0', '1.1.1.1', '1.1.1.1'],
  ])('trusting %j, from %s with %j, is %s', (trusted, remote, forwarded, expected) => {
    expect(addressOf(trusted, remote, forwarded)).toBe(expected);
  });

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:0db8:0:0:ffff::', '2001:db8:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
  ])('%s counts as %s', (address, key) => expect(toLimitKey(address)).toBe(key));
});

describe('AMESH_TRUSTED_PROXIES', () => {
  it.each([
    [undefined, undefined],
    ['', undefined],
    ['2', 2],
    ['10.0.0.0/8, fd00::/8 ,127.0.0.1', ['10.0.0.0/8', 'fd00::/8', '127.0.0.1']],
  ])('%j', (text, expected) => expect(readTrustedProxies(text)).toEqual(expected));

  it.each(['true', '0', '11', '10.0.0.0/33', '10.0.0/8', 'localhost', '10.0.0.1,,10.0.0.2', '1.5', '-1'])(
    'refuses %j',
    (text) => expect(() => createClientAddress(readTrustedProxies(text))).toThrow(TypeError),
  );

  it.each(['0.0.0.0/0', '::/0'])('refuses to trust every address: %s', (text) =>
    expect(() => createClientAddress([text])).toThrow(/would trust every address/),
  );
});
