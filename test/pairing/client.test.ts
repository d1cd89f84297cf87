import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Device, inviteTarget, listenForController } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { afterAll, describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { Client, startRelay } from '../relay/client';
import { createCertificate } from '../support/certificate';
import { documentOf } from '../support/list-document';
import { listen } from '../support/listen';
import { deferred, pair, trustBetween } from '../support/pairing';
import { useDevices } from '../support/use-devices';
import { useRelay } from '../support/use-relay';

const createDevice = useDevices();
const relay = useRelay();
const endings: (() => unknown)[] = [];
afterAll(() => Promise.all(endings.map((end) => end())));

const nobody = {
  showCode: () => {},
  intruder: () => {},
  connected: () => {},
  typeCode: () => new Promise<never>(() => {}),
  wrongCode: () => {},
  replace: async () => false,
  verified: () => {},
  confirm: async () => false,
};

/**
 * How both commands end at a relay: the same way, and without anything stored.
 *
 * @param toText what of a message has to be the same
 */
async function endsAt(
  at: string,
  toText = (message: string) => message,
): Promise<{ code: string; message: string }> {
  const device = await createDevice('alone');
  const errors = await Promise.all([
    listenForController({ device, relay: at, person: nobody }).catch((error) => error),
    inviteTarget({ device, relay: at, code: '482916', person: nobody }).catch((error) => error),
  ]);
  expect((await documentOf(device.trust)).devices).toEqual([]);
  const [first, second] = errors.map((error) => {
    if (!isAmeshError(error)) throw new Error(`Not an AmeshError: ${error}`);
    return { code: error.code as string, message: toText(error.message) };
  });
  expect(second).toEqual(first);
  return first as { code: string; message: string };
}

/** A WebSocket server that is no relay, or a hostile one. */
async function fakeRelay(act: (socket: WebSocket) => void): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    act(socket);
  });
  endings.push(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
}

describe.concurrent('a relay that cannot be reached', () => {
  it.concurrent('because nobody listens there', async () => {
    expect(await endsAt('ws://127.0.0.1:1/ws')).toEqual({
      code: 'relay_unreachable',
      message:
        'The relay at ws://127.0.0.1:1/ws did not respond (ECONNREFUSED). Your devices are fine. ' +
        'On one network, amesh listen --serve needs no relay. With another relay: --relay URL. Without any: amesh trust export',
    });
  });

  it.concurrent('because its name does not exist', async () => {
    const name = `${'a'.repeat(64)}.example`; // no label is so long, so nobody is asked
    const { code, message } = await endsAt(`ws://${name}/ws`);
    expect(code).toBe('relay_unreachable');
    expect(message).toMatch(/did not respond \((?:ENOTFOUND|EAI_[A-Z]+)\)/);
  });

  it.concurrent('because nobody knows its certificate', async () => {
    const server = await listen(createTlsServer(createCertificate()) as never);
    endings.push(() => server.close());
    const { code, message } = await endsAt(`wss://127.0.0.1:${server.port}/ws`);
    expect(code).toBe('relay_unreachable');
    expect(message).toContain('did not respond (DEPTH_ZERO_SELF_SIGNED_CERT)');
  });

  it.concurrent('because it does not speak TLS', async () => {
    const { code } = await endsAt(relay.url.replace('ws:', 'wss:'));
    expect(code).toBe('relay_unreachable');
  });

  it.concurrent.each([
    [200, 'relay_unreachable', ' not a relay (HTTP 200). Your devices are fine. Check the name, the port'],
    [302, 'relay_unreachable', ' not a relay (HTTP 302). Your devices are fine. Check the name, the port'],
    [404, 'relay_unreachable', ' not a relay (HTTP 404). Your devices are fine. Check the name, the port'],
    [429, 'relay_busy', 'is busy (429)'],
    [503, 'relay_busy', 'is busy (503)'],
  ] as const)('because a web server responds with %i', async (status, code, why) => {
    const server = await listen(
      createServer((_, response) => {
        response
          .writeHead(status, status === 302 ? { location: relay.url.replace('ws:', 'http:') } : {})
          .end('hi');
      }),
    );
    endings.push(() => server.close());
    const ended = await endsAt(`ws://${server.authority}/ws`);
    expect(ended.code).toBe(code);
    expect(ended.message).toContain(why);
  });

  it.concurrent('because the path is not the one of the relay', async () => {
    const at = relay.url.replace(/ws$/, 'relay');
    expect(await endsAt(at)).toEqual({
      code: 'relay_unreachable',
      message:
        `There is a web server at ${at}, not a relay (HTTP 404). Your devices are fine. ` +
        `Check the path: by default, the path of a relay is /ws. Try: --relay ${relay.url}`,
    });
  });

  it.concurrent('because it does not speak TLS', async () => {
    expect(await endsAt(relay.url.replace('ws:', 'wss:'))).toEqual({
      code: 'relay_unreachable',
      message: `The relay at ${relay.url.replace('ws:', 'wss:')} does not use TLS. Your devices are fine. If that relay is yours: --relay ${relay.url}`,
    });
  });

  it.concurrent('because something else listens there', async () => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    endings.push(() => server.close());
    const { code } = await endsAt(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`);
    expect(code).toBe('relay_unreachable');
  });
});

describe.concurrent('a relay that is not a relay', () => {
  const NONSENSE: [string, string | Buffer][] = [
    ['no JSON', 'hello'],
    ['JSON that is not an object', '[]'],
    ['null', 'null'],
    ['an unknown type', '{"type":"welcome"}'],
    ['a binary frame', Buffer.from('{"type":"listening","code":"482916","expiresIn":60}')],
    ['an invalid code', '{"type":"listening","code":"048291","expiresIn":60}'],
    ['a code with an escape sequence', '{"type":"listening","code":"\\u001b[2J","expiresIn":60}'],
    ['a code for ever', '{"type":"listening","code":"482916","expiresIn":1e12}'],
    ['an error without a name', '{"type":"error"}'],
    ['an error that is a screen', '{"type":"error","code":"\\u001b[2Jowned"}'],
    ['an invalid body', '{"type":"msg","body":1}'],
    ['a frame of more than 64 KiB', JSON.stringify({ type: 'msg', body: 'x'.repeat(65_536) })],
  ];
  it.concurrent.each(NONSENSE)('says %s', async (_, frame) => {
    const { code, message } = await endsAt(await fakeRelay((socket) => socket.send(frame)));
    expect(code).toBe('relay_unreachable');
    expect(message).toMatch(/^The relay at ws:\S+ (?:is not an amesh relay|closed the connection)\. /);
  });

  it.concurrent('sends a frame out of turn', async () => {
    const { message } = await endsAt(await fakeRelay((socket) => socket.send('{"type":"msg","body":"x"}')));
    expect(message).toContain('sent an unexpected frame. Your devices are fine.');
  });

  it.concurrent('hangs up', async () => {
    const { code } = await endsAt(await fakeRelay((socket) => socket.close()));
    expect(code).toBe('relay_unreachable');
  });

  it.concurrent('is left, even if it does not hang up', async () => {
    const left: Promise<unknown>[] = [];
    const at = await fakeRelay((socket) => {
      left.push(once(socket, 'close'));
      socket.send('{"type":"error","code":"too_large"}');
    });
    await endsAt(at);
    expect(await Promise.all(left)).toHaveLength(2);
  });

  it.concurrent('says that a code is valid for an hour: it is valid for a minute here', async () => {
    const device = await createDevice('patient');
    const relay = await fakeRelay((socket) => {
      socket.send('{"type":"listening","code":"482916","expiresIn":3600}');
      socket.send('{"type":"error","code":"session_expired"}');
    });
    const shown: unknown[] = [];
    const person = { ...nobody, showCode: (...facts: unknown[]) => void shown.push(...facts) };
    const error = await listenForController({ device, relay, person }).catch((error) => error);
    expect(shown).toEqual(['482916', 60]);
    expect(error).toMatchObject({
      code: 'code_expired',
      message: 'No controller joined within 60 s. Run it again: amesh listen',
    });
  });

  it.concurrent('says again and again that somebody has tried the code: it is reported once', async () => {
    const device = await createDevice('warned');
    const relay = await fakeRelay((socket) => {
      socket.send('{"type":"listening","code":"482916","expiresIn":60}');
      for (let i = 0; i < 50; i++) socket.send('{"type":"error","code":"code_used"}');
      socket.send('{"type":"error","code":"session_expired"}');
    });
    let warnings = 0;
    const person = { ...nobody, intruder: () => void warnings++ };
    const error = await listenForController({ device, relay, person }).catch((error) => error);
    expect([error.code, warnings]).toEqual(['code_expired', 1]);
  });

  it.concurrent('floods', async () => {
    const device = await createDevice('flooded');
    const relay = await fakeRelay((socket) => {
      socket.send('{"type":"listening","code":"482916","expiresIn":60}');
      const flood = setInterval(() => {
        for (let i = 0; i < 1000; i++) socket.send('{"type":"msg","body":"x"}');
      }, 1);
      socket.on('close', () => clearInterval(flood));
    });
    const error = await listenForController({ device, relay, person: nobody }).catch((error) => error);
    expect(error.code).toBe('relay_unreachable');
  });
});

describe.concurrent('a relay that refuses', () => {
  it.concurrent.each([
    ['rate_limited', 17, 'Try again in 17 s.'],
    ['capacity', undefined, 'Try again in a minute, or use another relay: --relay URL'],
    ['draining', undefined, 'Try again in a minute, or use another relay: --relay URL'],
    ['unavailable', 5, 'Try again in 5 s.'],
  ] as const)('says when to try again: %s', async (code, retryAfter, fix) => {
    const at = await fakeRelay((socket) => socket.send(JSON.stringify({ type: 'error', code, retryAfter })));
    expect(await endsAt(at)).toEqual({
      code: 'relay_busy',
      message: `The relay at ${at} is busy (${code}). ${fix}`,
    });
  });

  it.concurrent.each(['bad_message', 'unsupported_version', 'too_large', 'made_up'])(
    'for %s',
    async (code) => {
      const at = await fakeRelay((socket) => socket.send(JSON.stringify({ type: 'error', code })));
      expect((await endsAt(at)).message).toContain(
        `The relay at ${at} refused the connection (${code}). Your devices are fine.`,
      );
    },
  );

  it.concurrent('because a real one limits tries', async () => {
    const strict = await startRelay({ limits: { listensPerMinute: 1, failedJoinsPerMinute: 1 } });
    endings.push(() => strict.relay.close());
    const at = `ws://127.0.0.1:${strict.port}/ws`;
    await (await Client.open(strict.port)).listen();
    await (await Client.open(strict.port)).join('100000').next();
    // A second may begin between the two answers.
    const { code, message } = await endsAt(at, (text) => text.replace(/in \d+ s\.$/, 'in N s.'));
    expect(code).toBe('relay_busy');
    expect(message).toMatch(/is busy \(rate_limited\)\. Try again in N s\.$/);
  });
});

describe.concurrent('a code', () => {
  it.concurrent('that does not exist', async () => {
    const device = await createDevice('laptop');
    const error = await inviteTarget({ device, relay: relay.url, code: '100000', person: nobody }).catch(
      (e) => e,
    );
    expect(error.message).toBe(
      `Code 100 000 is unknown or expired on ${relay.url}. Ask for a new code, and check that both machines use the same relay: if \`amesh listen\` shows a line with --relay, run the whole line.`,
    );
    expect(error.code).toBe('code_not_found');
  });

  it.concurrent.each(['48291', '4829167', 'abc', '048291', '48291a', '', ' 482916'])(
    'of an impossible form: %j',
    async (code) => {
      const device = await createDevice('laptop');
      await expect(inviteTarget({ device, relay: relay.url, code, person: nobody })).rejects.toThrow(
        TypeError,
      );
    },
  );

  it.concurrent('that nobody uses in time', async () => {
    const hasty = await startRelay({ limits: { codeMs: 1000 } });
    endings.push(() => hasty.relay.close());
    const device = await createDevice('prod-api');
    const person = { ...nobody };
    const error = await listenForController({
      device,
      relay: `ws://127.0.0.1:${hasty.port}/ws`,
      person,
    }).catch((error) => error);
    expect(error.code).toBe('code_expired');
    expect(error.message).toBe('No controller joined within 1 s. Run it again: amesh listen');
  });

  it.concurrent('that two race for goes to one of them, and the target hears about the other', async () => {
    const target = await createDevice('prod-api');
    const racers = [await createDevice('a'), await createDevice('b')];
    const [code, shown, intruder] = [deferred<string>(), deferred<string>(), deferred<void>()];
    const listening = listenForController({
      device: target,
      relay: relay.url,
      person: {
        ...nobody,
        showCode: code.resolve,
        intruder: intruder.resolve,
        typeCode: () => intruder.promise.then(() => shown.promise), // they look who it is that is connected
      },
    });
    const invite = async (device: Device) =>
      inviteTarget({
        device,
        relay: relay.url,
        code: await code.promise,
        person: { showCode: shown.resolve, confirm: async () => true },
      });
    const ended = await Promise.all(racers.map((device) => invite(device).catch((error) => error)));
    const won = isAmeshError(ended[0]) ? 1 : 0;
    expect(ended[1 - won]).toMatchObject({
      code: 'code_used',
      message:
        'Somebody has already used this code. If you did not use it, get a new one on the other machine: amesh listen',
    });
    expect((await listening).controller.deviceId).toBe(racers[won]?.identity.deviceId);
    expect(await trustBetween(racers[won] as Device, target)).toBe('paired');
    expect(await trustBetween(racers[1 - won] as Device, target)).toBe('none');
  });

  it.concurrent('that is tried again while the target writes does not lose the last message', async () => {
    const [target, controller] = [await createDevice('prod-api'), await createDevice('laptop')];
    const intruder = await Client.open(relay.port);
    let code = '';
    const { trust } = target;
    const slow = {
      read: () => trust.read(),
      readHead: () => trust.readHead(),
      preview: (...args: Parameters<typeof trust.preview>) => trust.preview(...args),
      update: async (...args: Parameters<typeof trust.update>) => {
        expect(await intruder.join(code).next()).toEqual({ type: 'error', code: 'code_used' });
        await sleep(100);
        return trust.update(...args);
      },
    };
    const { errors } = await pair({
      target: { ...target, trust: slow as never },
      controller,
      relay: relay.url,
      atTarget: {
        showCode: (shown) => {
          code = shown;
        },
      },
    });
    expect(errors).toEqual({});
    expect(await trustBetween(controller, target)).toBe('paired');
  });

  it.concurrent('is used up by the first try, even if that fails', async () => {
    const [target, controller] = [await createDevice('prod-api'), await createDevice('laptop')];
    let code = '';
    const ended = await pair({
      target,
      controller,
      relay: relay.url,
      atTarget: {
        showCode: (shown) => {
          code = shown;
        },
      },
      atController: { confirm: async () => false },
    });
    expect([ended.target, ended.controller]).toEqual(['pairing_declined', 'pairing_declined']);
    const again = await inviteTarget({ device: controller, relay: relay.url, code, person: nobody }).catch(
      (e) => e,
    );
    expect(again.code).toBe('code_used');
    expect(await trustBetween(controller, target)).toBe('none');
  });
});
