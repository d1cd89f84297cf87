import { describe, expect, it } from 'vitest';
import { uselessEntries } from '../../src/proxy/no-proxy';
import { routeTo } from '../../src/proxy/route';
import { WRONG_VALUES } from '../support/variables';

const RELAY = 'wss://relay.example.com/ws';
const by = (url: string, env: Record<string, string>) => {
  const route = routeTo(new URL(url), env);
  return route.by === 'proxy' ? `${route.proxy.shown} ${route.proxy.variable}` : route.by;
};

describe('the variable that applies', () => {
  const P = 'http://a.example:1';
  it.each([
    [RELAY, { HTTPS_PROXY: P }, 'a.example:1 HTTPS_PROXY'],
    [RELAY, { https_proxy: P, HTTPS_PROXY: 'http://b.example:2' }, 'a.example:1 https_proxy'],
    [RELAY, { https_proxy: '', HTTPS_PROXY: P }, 'a.example:1 HTTPS_PROXY'],
    [RELAY, { HTTPS_PROXY: '', ALL_PROXY: P }, 'a.example:1 ALL_PROXY'],
    [RELAY, { all_proxy: P, HTTPS_PROXY: 'http://b.example:2' }, 'b.example:2 HTTPS_PROXY'],
    [RELAY, { HTTP_PROXY: P }, 'default'],
    ['https://api.example.com/', { HTTPS_PROXY: P }, 'a.example:1 HTTPS_PROXY'],
    [
      'ws://relay.example.com/ws',
      { HTTP_PROXY: P, HTTPS_PROXY: 'http://b.example:2' },
      'a.example:1 HTTP_PROXY',
    ],
    ['http://api.example.com/', { http_proxy: P }, 'a.example:1 http_proxy'],
    ['http://api.example.com/', { HTTP_PROXY: P, REQUEST_METHOD: 'GET' }, 'default'],
    ['http://api.example.com/', { http_proxy: P, REQUEST_METHOD: 'GET' }, 'a.example:1 http_proxy'],
    [RELAY, {}, 'default'],
  ])('%s with %j: %s', (url, env, expected) => {
    expect(by(url, env)).toBe(expected);
  });

  it('on Windows, where both spellings are one variable, no variable that a request sets under CGI', () => {
    const sent = { HTTP_PROXY: P, REQUEST_METHOD: 'GET' };
    const env = new Proxy<Record<string, string>>(sent, {
      get: (target, name) => target[String(name).toUpperCase()],
    });
    expect(by('http://api.example.com/', env)).toBe('default');
  });
});

describe('what stays on this machine uses no proxy', () => {
  it.each([
    'ws://localhost:3001/ws',
    'ws://LOCALHOST.:3001/ws',
    'ws://relay.localhost:3001/ws',
    'ws://127.0.0.1:3001/ws',
    'ws://127.9.9.9/ws',
    'ws://[::1]:3001/ws',
    'ws://[::ffff:127.0.0.1]:3001/ws',
    'ws://0.0.0.0:3001/ws',
    'http://[::]:3001/',
  ])('%s', (url) => {
    expect(by(url, { ALL_PROXY: 'socks5://nobody-looks-at-it' })).toBe('loopback');
  });

  it.each(['ws://localhost.example.com/ws', 'ws://128.0.0.1/ws', 'ws://[::2]/ws'])('but %s does', (url) => {
    expect(by(url, { ALL_PROXY: 'http://p:1' })).toBe('p:1 ALL_PROXY');
  });
});

describe('the URL of a proxy', () => {
  it.each([
    ['proxy.corp:3128', 'proxy.corp:3128'],
    ['proxy.corp', 'proxy.corp:80'],
    ['http://proxy.corp', 'proxy.corp:80'],
    ['HTTP://proxy.corp:3128/', 'proxy.corp:3128'],
    ['https://proxy.corp', 'proxy.corp:443'],
    ['http://user:p%40ss@proxy.corp:3128', 'proxy.corp:3128'],
    ['user:horse@proxy.corp:3128', 'proxy.corp:3128'],
    ['http://[fd00::1]:3128', '[fd00::1]:3128'],
  ])('%s is shown as %s', (value, shown) => {
    expect(by(RELAY, { HTTPS_PROXY: value })).toBe(`${shown} HTTPS_PROXY`);
  });

  it.each([
    [
      'socks5://proxy.corp:1080',
      'names a socks5:// proxy at proxy.corp:1080: only http:// and https:// are supported. Write http://proxy.example.com:3128, or unset it.',
    ],
    ['socks5h://user:horse@proxy.corp:1080', 'names a socks5h:// proxy at proxy.corp:1080: only'],
    ['socks4://user:12#horse@proxy.corp', 'names a socks4:// proxy: only'],
    ['ftp://proxy.corp', 'names a ftp:// proxy at proxy.corp: only'],
    ['file:///etc/proxy.pac', 'names a file:// proxy: only'],
    ['http://', 'is not the URL of a proxy.'],
    ['http://proxy corp:3128', 'is not the URL of a proxy.'],
    ['http://proxy.corp:99999', 'is not the URL of a proxy.'],
    ['http://proxy.corp:0', 'names port 0.'],
    ['http://[fe80::1%25eth0]:3128', 'is not the URL of a proxy.'],
    ['http://proxy.corp/proxy.pac', 'contains more than the host and port of a proxy.'],
    ['http://user:12#horse@proxy.corp:3128', 'contains more than the host and port of a proxy.'],
    ['http://user:12/horse@proxy.corp:3128', 'contains more than the host and port of a proxy.'],
    ['http://user:12?horse@proxy.corp:3128', 'contains more than the host and port of a proxy.'],
    [
      'http://user:horse%zz@proxy.corp:3128',
      'contains a user name or password with a bare %. Write % as %25.',
    ],
    ['http://user:horse\n@proxy.corp:3128', 'contains a control character'],
  ])('%j is refused', (value, reason) => {
    for (const name of ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY']) {
      const error = refusalOf(() => by(RELAY, { [name]: value }));
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message.startsWith(`${name} ${reason}`), error.message).toBe(true);
      expect(error.message).not.toMatch(/horse|user:/);
    }
  });

  it.each(WRONG_VALUES.filter(([what]) => what !== 'empty'))('%s is refused', (_, spoil, reason) => {
    for (const name of ['https_proxy', 'HTTPS_PROXY', 'ALL_PROXY'])
      expect(() => by(RELAY, { [name]: spoil('http://proxy.corp:3128') })).toThrow(`${name} ${reason}`);
    for (const name of ['no_proxy', 'NO_PROXY']) {
      const env = { HTTPS_PROXY: 'http://proxy.corp:3128', [name]: spoil('relay.example.com') };
      expect(() => by(RELAY, env)).toThrow(`${name} ${reason}`);
    }
  });
});

describe('NO_PROXY', () => {
  const env = (value: string) => ({ ALL_PROXY: 'http://p:1', NO_PROXY: value });

  it.each([
    ['*', RELAY],
    ['a.example, *', RELAY],
    ['relay.example.com', RELAY],
    ['RELAY.example.com.', RELAY],
    ['example.com', RELAY],
    ['.example.com', RELAY],
    ['*.example.com', RELAY],
    ['.example.com', 'wss://example.com/ws'],
    ['a.example,relay.example.com', RELAY],
    ['a.example relay.example.com', RELAY],
    ['a.example, relay.example.com', RELAY],
    ['relay.example.com:443', RELAY],
    ['.example.com:443', RELAY],
    ['relay.example.com:80', 'ws://relay.example.com/ws'],
    ['relay.example.com', 'wss://relay.example.com.:8443/ws'],
    ['10.1.2.3', 'wss://10.1.2.3/ws'],
    ['10.0.0.0/8', 'wss://10.1.2.3/ws'],
    ['[fd00::1]', 'wss://[fd00::1]/ws'],
    ['fd00::1', 'wss://[fd00::1]/ws'],
    ['FD00:0:0::1', 'wss://[fd00::1]:99/ws'],
    ['[fd00::1]:3001', 'ws://[fd00::1]:3001/ws'],
    ['fd00::/8', 'wss://[fd00::1]/ws'],
    ['bücher.example', 'wss://relay.bücher.example/ws'],
  ])('%j keeps %s out', (value, url) => {
    expect(by(url, env(value))).toBe('exempt');
  });

  it.each([
    ['', RELAY],
    ['ample.com', RELAY],
    ['relay.example', RELAY],
    ['a.relay.example.com', RELAY],
    ['relay.example.com:444', RELAY],
    ['relay.example.com:80', RELAY],
    ['[fd00::1]:3002', 'ws://[fd00::1]:3001/ws'],
    ['[fd00::2]', 'wss://[fd00::1]/ws'],
    ['10.0.0.0/8', 'wss://11.1.2.3/ws'],
    ['10.0.0.0/8', RELAY],
    ['10.0.0.0/99', 'wss://10.1.2.3/ws'],
    ['https://relay.example.com', RELAY],
    ['relay.example.com/ws', RELAY],
    ['[fd00::1', 'wss://[fd00::1]/ws'],
    ['re*lay.example.com', RELAY],
  ])('%j does not keep %s out', (value, url) => {
    expect(by(url, env(value))).toBe('p:1 ALL_PROXY');
  });

  it('in lower case wins, but an empty one does not', () => {
    const both = { ALL_PROXY: 'http://p:1', no_proxy: 'a.example', NO_PROXY: 'relay.example.com' };
    expect(by(RELAY, both)).toBe('p:1 ALL_PROXY');
    expect(by(RELAY, { ...both, no_proxy: '' })).toBe('exempt');
  });

  it('entries that match no host are found', () => {
    const value = 'a.example,https://b.example,10.0.0.0/99,[fd00::1,.internal,*,fd00::/8,c.example:443';
    expect(uselessEntries(value)).toEqual(['https://b.example', '10.0.0.0/99', '[fd00::1']);
  });
});

function refusalOf(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('Nothing was refused.');
}
