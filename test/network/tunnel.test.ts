import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { probeRelay } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { createCertificate } from '../support/certificate';
import { type ConnectProxy, type ConnectProxyOptions, startConnectProxy } from '../support/connect-proxy';
import { useRelay } from '../support/use-relay';

/** A name that nothing on this machine can resolve. */
const HOST = 'relay.corp.example';
const RELAY = `ws://${HOST}:3001/ws`;

const relay = useRelay();
const endings: (() => unknown)[] = [];
afterEach(() => vi.unstubAllEnvs());
afterAll(() => Promise.all(endings.map((end) => end())));

function use(value: string, variable = 'HTTP_PROXY'): void {
  for (const name of ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy']) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toUpperCase(), undefined);
  }
  vi.stubEnv(variable, value);
}

async function proxy(options: ConnectProxyOptions = {}): Promise<ConnectProxy> {
  const started = await startConnectProxy({ names: { [HOST]: relay.port }, ...options });
  endings.push(() => started.close());
  return started;
}

/** A server that is no proxy; the connections end with it. */
async function serve(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

async function failureOf(action: Promise<unknown>) {
  const error = await action.then(
    () => undefined,
    (thrown) => thrown,
  );
  if (!isAmeshError(error)) throw error ?? new Error('Nothing failed.');
  return { code: error.code, message: error.message, fix: error.fix };
}

const EXEMPT = `If this machine reaches ${HOST} without a proxy, add ${HOST} to NO_PROXY.`;

describe('a relay behind a proxy', () => {
  it.each(['HTTP_PROXY', 'http_proxy', 'ALL_PROXY', 'all_proxy'])('is reached by %s', async (variable) => {
    const through = await proxy();
    use(`http://127.0.0.1:${through.port}`, variable);
    await probeRelay(RELAY);
    expect(through.asked).toEqual([`${HOST}:3001`]);
  });

  it('is not reached without it: only the proxy knows the name', async () => {
    use('');
    const { code, message } = await failureOf(probeRelay(RELAY));
    expect(code).toBe('relay_unreachable');
    expect(message).toMatch(
      /^The relay at ws:\/\/relay\.corp\.example:3001\/ws did not respond \((?:ENOTFOUND|EAI_AGAIN)\)/,
    );
  });

  it('is reached with a user name and a password, which the proxy gets undamaged', async () => {
    const through = await proxy({ login: 'ann:p@ss: ü' });
    use(`http://ann:p%40ss%3A%20%C3%BC@127.0.0.1:${through.port}`);
    await probeRelay(RELAY);
    expect(through.logins).toEqual([`Basic ${Buffer.from('ann:p@ss: ü').toString('base64')}`]);
  });

  it('is reached through a proxy on [::1]', async () => {
    const through = await proxy({ host: '::1', names: { [HOST]: (await ipv6Relay()).port } });
    use(`http://[::1]:${through.port}`);
    await probeRelay(RELAY);
    expect(through.asked).toEqual([`${HOST}:3001`]);
  });

  it('on loopback is reached directly', async () => {
    const through = await proxy();
    use(`http://127.0.0.1:${through.port}`);
    await probeRelay(relay.url);
    expect(through.asked).toEqual([]);
  });

  it('that NO_PROXY names is reached directly', async () => {
    const through = await proxy();
    use(`http://127.0.0.1:${through.port}`);
    vi.stubEnv('NO_PROXY', '.corp.example:3001');
    const { message } = await failureOf(probeRelay(RELAY));
    expect(message).toMatch(/did not respond \((?:ENOTFOUND|EAI_AGAIN)\)/);
    expect(through.asked).toEqual([]);
  });
});

describe('a proxy that opens no tunnel', () => {
  it.each([
    [
      [407, 'proxy-authenticate: Basic realm="corp"'],
      'asks for a user name and password (HTTP 407).',
      'Set them, percent-encoded: HTTP_PROXY=http://USER:PASSWORD@',
    ],
    [
      [407, 'proxy-authenticate: NTLM', 'proxy-authenticate: Negotiate'],
      'asks for a login by NTLM or Negotiate (HTTP 407), but amesh supports only Basic.',
      'Run a local proxy that logs in there, such as px or cntlm, and set HTTP_PROXY to it.',
    ],
    [[401], 'asks for a user name and password (HTTP 401).', 'Set them, percent-encoded: HTTP_PROXY='],
    [
      [403],
      `does not allow a connection to ${HOST}:3001 (HTTP 403). Many proxies allow only port 443.`,
      `Ask its administrator to allow CONNECT to ${HOST}:3001.`,
    ],
    [[502], `does not reach ${HOST}:3001 (HTTP 502).`, 'Check the name and port.'],
    [[503], `does not reach ${HOST}:3001 (HTTP 503).`, 'Check the name and port.'],
    [[504], `does not reach ${HOST}:3001 (HTTP 504).`, 'Check the name and port.'],
    [
      [404],
      'opens no tunnel (HTTP 404): it may be a web server, not a proxy.',
      'Check the host and port in HTTP_PROXY.',
    ],
    [[302, 'location: http://login.example/'], 'opens no tunnel (HTTP 302)', 'Check the host and port'],
    [[501], 'opens no tunnel (HTTP 501)', 'Check the host and port'],
  ] as const)('%j', async (refuse, cause, fix) => {
    const through = await proxy({ refuse });
    use(`http://127.0.0.1:${through.port}`);
    const failure = await failureOf(probeRelay(RELAY));
    expect(failure.code).toBe('relay_unreachable');
    const begin = `The proxy 127.0.0.1:${through.port}, from HTTP_PROXY, ${cause}`;
    expect(failure.message.slice(0, begin.length)).toBe(begin);
    expect(failure.message).toContain('Your devices are fine.');
    expect(failure.fix.slice(0, fix.length)).toBe(fix);
    expect(failure.fix.endsWith(EXEMPT)).toBe(true);
  });

  it('does not accept the login: neither part of it is printed', async () => {
    const through = await proxy({ login: 'ann:right' });
    use(`http://ann-of-corp:horse@127.0.0.1:${through.port}`, 'http_proxy');
    const { message } = await failureOf(probeRelay(RELAY));
    expect(message).toContain(
      `The proxy 127.0.0.1:${through.port}, from http_proxy, does not accept this user name and password (HTTP 407).`,
    );
    expect(message).not.toMatch(/horse|ann-of-corp/);
  });

  it('says nothing: no connection stays open', async () => {
    let ended: Promise<unknown> | undefined;
    const port = await serve(
      createServer((socket) => {
        ended = new Promise((resolve) => socket.on('close', resolve));
        socket.resume();
      }),
    );
    use(`http://127.0.0.1:${port}`);
    const { message, fix } = await failureOf(probeRelay(RELAY, undefined, 100));
    expect(message).toContain(`The proxy 127.0.0.1:${port}, from HTTP_PROXY, did not respond within 0.1 s.`);
    expect(fix).toContain(EXEMPT);
    await ended;
  });

  it('is not blamed for a relay after it that hangs up', async () => {
    const rude = await serve(createServer((socket) => socket.once('data', () => socket.destroy())));
    const through = await proxy({ names: { [HOST]: rude } });
    use(`http://127.0.0.1:${through.port}`);
    const { message } = await failureOf(probeRelay(RELAY));
    const begin = `The relay at ${RELAY}, through the proxy 127.0.0.1:${through.port} (HTTP_PROXY), did not respond (ECONNRESET).`;
    expect(message.slice(0, begin.length)).toBe(begin);
  });

  it('says nothing while somebody presses Ctrl+C: that ends it', async () => {
    const ending = new AbortController();
    const port = await serve(createServer(() => ending.abort(new Error('Ctrl+C'))));
    use(`http://127.0.0.1:${port}`);
    await expect(probeRelay(RELAY, ending.signal)).rejects.toThrow('Ctrl+C');
  });

  it('has connected: that ends it, too, whatever the reason is', async () => {
    let end = () => {};
    const silent = createServer((socket) => void socket.once('data', () => end())); // the first bytes of TLS
    const { port } = await proxy({ names: { [HOST]: await serve(silent) } });
    use(`http://127.0.0.1:${port}`, 'HTTPS_PROXY');
    for (const reason of [new Error('Ctrl+C'), null, 'Ctrl+C']) {
      const ending = new AbortController();
      end = () => ending.abort(reason);
      const thrown = probeRelay(RELAY.replace('ws:', 'wss:'), ending.signal).catch((error) => ({ error }));
      expect(await thrown).toEqual({ error: reason });
    }
  });

  it('does not exist', async () => {
    const gone = createServer();
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve));
    const { port } = gone.address() as AddressInfo;
    await new Promise((resolve) => gone.close(resolve));
    use(`http://127.0.0.1:${port}`);
    const { message } = await failureOf(probeRelay(RELAY));
    expect(message).toContain(
      `The proxy 127.0.0.1:${port}, from HTTP_PROXY, does not respond (ECONNREFUSED).`,
    );
  });

  it('has a name that nobody knows', async () => {
    use('http://proxy.corp.example:3128');
    const { message } = await failureOf(probeRelay(RELAY));
    expect(message).toMatch(
      /The name of the proxy proxy\.corp\.example:3128, from HTTP_PROXY, has no address \((?:ENOTFOUND|EAI_AGAIN)\)\./,
    );
  });

  it('hangs up', async () => {
    const port = await serve(createServer((socket) => socket.once('data', () => socket.destroy())));
    use(`http://127.0.0.1:${port}`);
    const { message } = await failureOf(probeRelay(RELAY));
    expect(message).toContain('does not respond (ECONNRESET).');
  });

  it('speaks another protocol', async () => {
    const port = await serve(createServer((socket) => socket.end('SSH-2.0-x\r\n')));
    use(`http://127.0.0.1:${port}`);
    const { message, fix } = await failureOf(probeRelay(RELAY));
    expect(message).toMatch(/does not speak HTTP \(HPE_\w+\)\./);
    expect(fix).toContain(`is it https://127.0.0.1:${port}, or another kind of proxy?`);
  });

  it('answers without an end: it is cut off', async () => {
    const port = await serve(
      createServer((socket) => {
        const more = () => {
          while (socket.write(`x: ${'y'.repeat(10_000)}\r\n`));
          socket.once('drain', more);
        };
        socket.write('HTTP/1.1 200 OK\r\n');
        more();
      }),
    );
    use(`http://127.0.0.1:${port}`);
    const { message } = await failureOf(probeRelay(RELAY));
    expect(message).toContain('does not speak HTTP (HPE_HEADER_OVERFLOW).');
  });

  it('speaks plain http, but https:// is given', async () => {
    const through = await proxy();
    use(`https://127.0.0.1:${through.port}`);
    const { message, fix } = await failureOf(probeRelay(RELAY));
    expect(message).toContain('does not use TLS.');
    expect(fix).toContain(`Write HTTP_PROXY=http://127.0.0.1:${through.port}.`);
  });

  it('shows a certificate that nobody knows', async () => {
    const through = await proxy({ tls: createCertificate() });
    use(`https://127.0.0.1:${through.port}`);
    const { message, fix } = await failureOf(probeRelay(RELAY));
    expect(message).toMatch(/has a certificate that this machine does not accept \(\w+\)\./);
    expect(fix).toBe('For a private CA: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem');
  });

  it('inspects TLS: the authority of the company is missing', async () => {
    const port = await serve(createTlsServer(createCertificate(HOST)));
    const through = await proxy({ names: { [HOST]: port } });
    use(`http://127.0.0.1:${through.port}`, 'HTTPS_PROXY');
    const { message, fix } = await failureOf(probeRelay(`wss://${HOST}/ws`));
    expect(message).toMatch(
      /^The relay at wss:\/\/relay\.corp\.example\/ws, through the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\), did not respond \(\w+_\w+\)\./,
    );
    expect(fix).toContain('NODE_EXTRA_CA_CERTS=/path/to/ca.pem');
  });

  it.each(['socks5://ann:horse@127.0.0.1:1', 'http://ann:horse@127.0.0.1:x', '"http://127.0.0.1:1"'])(
    'is not a proxy: %s is a TypeError',
    async (value) => {
      use(value);
      const error = await probeRelay(RELAY).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toMatch(/^HTTP_PROXY /);
      expect(error.message).not.toContain('horse');
    },
  );
});

async function ipv6Relay() {
  const { createRelay } = await import('@authmesh/relay');
  const started = createRelay();
  endings.push(() => started.close());
  return started.listen(0, '::1');
}
