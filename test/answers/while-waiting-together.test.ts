import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { toMiddleware } from '../../src/adapters/express/middleware';
import type { Verifier } from '../../src/core/verify/verify';
import type { RequestView } from '../../src/core/wire/view';
import { type Script, toScript } from '../support/child';
import { eachByItself } from '../support/each-by-itself';
import { listen } from '../support/listen';
import { asking, checked, provingVerifier, receive, signings, targetSigner } from '../support/proofs';

const BODY = 'bye';

/** The path of a request that makes the server busy, so that answers wait for each other. */
const COMPANION = '/companion';

async function companionTo(port: number) {
  const { request } = await asking({ target: COMPANION });
  void receive(port, request).catch(() => {}); // its connection may end without an answer
}

/** Ends two responses in one turn, and then calls the function for all but the companion's, which is the second one. */
function serverOf(
  verifier: Verifier,
  after: (response: ServerResponse, server: Server, request: IncomingMessage) => unknown,
  beneath: (response: ServerResponse, server: Server) => unknown = () => {},
): Server {
  const verify = toMiddleware(verifier);
  const waiting: [IncomingMessage, ServerResponse][] = [];
  const answer = ([request, response]: [IncomingMessage, ServerResponse]) => {
    beneath(response, server);
    void verify(request, response, () => {
      response.end(BODY);
      if (request.url !== COMPANION) after(response, server, request);
    });
  };
  const server: Server = createServer((...pair) => {
    const isCompanion = pair[0].url === COMPANION;
    waiting[isCompanion ? 'push' : 'unshift'](pair);
    if (waiting.length === 2) void eachByItself(waiting.splice(0), answer);
  });
  return server;
}

/** Replaces `end()`, as middleware does that was mounted before. */
function hookEnd(response: ServerResponse, hook: (end: () => void) => void): void {
  const { end } = response;
  response.end = ((...args: unknown[]) => {
    hook(() => void Reflect.apply(end, response, args));
    return response;
  }) as typeof end;
}

/** A request as its bytes. */
function textOf({ method, target, authority, headers }: RequestView & { headers: Record<string, string> }) {
  const lines = Object.entries({ host: authority, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

const endings: Record<string, (server: Server) => unknown> = {
  'server.close()': (server) => server.close(),
  'server.closeAllConnections()': (server) => server.closeAllConnections(),
};

it.each(Object.entries(endings))(
  '%s by what sends one answer loses none that was to be sent after it',
  async (_call, close) => {
    const hook = (response: ServerResponse, server: Server) =>
      hookEnd(response, (end) => {
        end();
        close(server);
      });
    const { port } = await listen(serverOf(await provingVerifier(), () => {}, hook));
    const asked = await Promise.all([asking(), asking()]);
    const answers = asked.map(async ({ request, expected }) =>
      checked(await receive(port, request), expected),
    );
    const proofs = (await Promise.all(answers)).map(({ proof, text }) => [proof, text]);
    expect(proofs).toEqual([
      ['proven', BODY],
      ['proven', BODY],
    ]);
  },
);

it.each(signings)(
  'server.close() loses no answer that middleware beneath sends later, signed $when',
  async ({ isLater }) => {
    const hook = (response: ServerResponse) => hookEnd(response, (end) => setTimeout(end, 1));
    const verifier = await provingVerifier({ isLater });
    const { port } = await listen(serverOf(verifier, (_response, server) => server.close(), hook));
    const { request, expected } = await asking();
    await companionTo(port);
    const { proof, text } = await checked(await receive(port, request), expected);
    expect([proof, text]).toEqual(['proven', BODY]);
  },
);

it.each(signings)(
  'server.close() ends the connection of an answer that it waits for, signed $when',
  async ({ isLater }) => {
    const verifier = await provingVerifier({ isLater });
    const server = serverOf(verifier, (_response, server) => server.close());
    server.keepAliveTimeout = 0;
    const { port } = await listen(server);
    const { request } = await asking();
    const client = connect(port, '127.0.0.1');
    client.write(textOf(request));
    client.resume();
    await companionTo(port);
    await once(client, 'end');
    client.destroy();
    server.closeAllConnections();
  },
);

it.each([
  [
    'written to the connection',
    (request: IncomingMessage) => request.socket.write('HTTP/1.1 400 No\r\n\r\n'),
  ],
  [
    'sent for garbage that arrives meanwhile',
    (_request: IncomingMessage, client: { write(text: string): void }) => client.write('garbage\r\n\r\n'),
  ],
])('an answer that waits comes before what is %s', async (_what, act) => {
  const client = { write: (_text: string): void => {} };
  const server = serverOf(await provingVerifier(), (_response, _server, request) => act(request, client));
  const { port } = await listen(server);
  const socket = connect(port, '127.0.0.1').setEncoding('latin1');
  client.write = (text) => void socket.write(text);
  socket.write(textOf((await asking()).request));
  await companionTo(port);
  let received = '';
  socket.on('data', (text: string) => {
    received += text;
    if (received.includes('400')) socket.end();
  });
  await once(socket, 'close');
  expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400']);
  server.close();
  server.closeAllConnections();
});

it.each([
  ['that is answered later', false],
  ['whose key needs time', true],
])(
  'server.close() loses no answer to a request %s, behind another one on its connection',
  async (_what, isLater) => {
    const { deviceId, sign } = await targetSigner();
    const waiting: ServerResponse[] = [];
    let count = 0;
    const signLater = async (message: Uint8Array) => {
      if (++count === 1) await once(waiting[0] as ServerResponse, 'finish').then(() => setImmediate());
      return sign(message);
    };
    const answerSigner = { deviceId, sign: isLater ? signLater : sign };
    const verify = toMiddleware(await provingVerifier({ answerSigner }));
    const server = createServer((request, response) => {
      void verify(request, response, () => {
        if (waiting.push(response) < 2) return;
        const [first, second] = waiting as [ServerResponse, ServerResponse];
        if (isLater) second.end(BODY); // is signed when the first one is sent
        first.end(BODY);
        if (isLater) first.once('finish', () => server.close());
        else
          nextTicks(10, () => {
            server.close();
            setTimeout(() => second.end(BODY), 20);
          });
      });
    });
    const { port } = await listen(server);
    const socket = connect(port, '127.0.0.1').setEncoding('latin1');
    const requests = await Promise.all([asking({ target: '/1' }), asking({ target: '/2' })]);
    socket.write(requests.map(({ request }) => textOf(request)).join(''));
    let received = '';
    socket.on('data', (text: string) => {
      received += text;
      if (received.split(BODY).length > 2) socket.destroy();
    });
    socket.on('error', () => {});
    await once(socket, 'close');
    expect(received.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200']);
    server.close();
    server.closeAllConnections();
  },
);

function nextTicks(count: number, call: () => void): void {
  if (count === 0) call();
  else process.nextTick(() => nextTicks(count - 1, call));
}

const lateCalls: Record<string, (response: ServerResponse, done: (error?: Error | null) => void) => unknown> =
  {
    'write()': (response, done) => response.write('more', done),
    'end()': (response, done) => response.end('more', done),
  };

it.each(
  Object.entries(lateCalls).flatMap(([call, late]) =>
    signings.map((how) => [call, how.when, { ...how, late }] as const),
  ),
)(
  'a late %s, when Node would have sent the answer, fails as after that and emits no error: signed %s',
  async (_call, _when, { isLater, late }) => {
    const seen: unknown[] = [];
    const called = new Promise<void>((resolve) => {
      later = (response) => {
        response.on('error', (error) => seen.push(error));
        nextTicks(10, () =>
          late(response, (error) => {
            seen.push((error as NodeJS.ErrnoException).code);
            resolve();
          }),
        );
      };
    });
    const { answerSigner } = isLater ? await slowSigner() : { answerSigner: await targetSigner() };
    const { port } = await listen(
      serverOf(await provingVerifier({ answerSigner }), (response) => later(response)),
    );
    const { request, expected } = await asking();
    await companionTo(port);
    const { proof, text } = await checked(await receive(port, request), expected);
    await called;
    expect([proof, text, ...seen]).toEqual(['proven', BODY, 'ERR_STREAM_WRITE_AFTER_END']);
  },
);

let later: (response: ServerResponse) => void;

/** A signer that takes more than a turn of the event loop. */
async function slowSigner() {
  const { deviceId, sign } = await targetSigner();
  return {
    answerSigner: {
      deviceId,
      async sign(message: Uint8Array) {
        await setImmediate();
        return sign(message);
      },
    },
  };
}

let script: Script;
beforeAll(async () => {
  script = await toScript('test/answers/processes/ending-server.ts');
});
afterAll(() => script.remove());

it.each(['alone', 'in a thread'])('an answer that ends while the process ends is sent: %s', async (where) => {
  const server = script.start([where]);
  const port = Number(await server.line('port '));
  const { request, expected } = await asking({ target: '/end-at-exit' });
  await companionTo(port);
  const { proof, text } = await checked(await receive(port, request), expected);
  await server.ended;
  expect([proof, text]).toEqual(['proven', BODY]);
});
