import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { type Change, type Holder, holdLine } from '../support/holder';
import { asking, checked, type ReceivedAnswer, receive } from '../support/proofs';
import { requireRuntime } from '../support/runtime-server';
import { vectors } from '../support/vectors';
import { kinds } from './servers/web-kinds';
import { ask, startWebServer, webServers } from './web-servers';

/** Whose every field is one that a signature covers. */
const FULL = 'with every field';
const COVERED = [
  'content-type',
  'unencoded-digest',
  'location',
  'www-authenticate',
  'retry-after',
  'etag',
  'link',
  'set-cookie',
  'content-range',
  'age',
] as const;
const OURS = ['signature', 'signature-input'] as const;

type Lines = Record<string, string[]>;
const lines = ({ headers }: ReceivedAnswer) => ({ ...headers }) as unknown as Lines;
const withLines = (answer: ReceivedAnswer, more: Lines): ReceivedAnswer => ({
  ...answer,
  headers: { ...answer.headers, ...more },
});
const without = (answer: ReceivedAnswer, ...names: readonly string[]): ReceivedAnswer => {
  const headers = lines(answer);
  for (const name of names) delete headers[name];
  return { ...answer, headers };
};
const body = (text: string) => new TextEncoder().encode(text);
const flipped = ({ body }: ReceivedAnswer) => body.map((byte, i) => (i === 0 ? byte ^ 1 : byte));

/** What the holder of the line does to a proven answer with a body. */
const changes: Record<string, Change> = {
  'another status': (answer) => ({ ...answer, status: 203 }),
  'a failure in place of success': (answer) => ({ ...answer, status: 500 }),
  'a part that nobody asked for': (answer) => ({ ...answer, status: 206 }),
  'a redirect in place of the answer': (answer) =>
    withLines({ ...answer, status: 302 }, { location: ['http://evil.example/'] }),
  'one byte of the body': (answer) => ({ ...answer, body: flipped(answer) }),
  'a longer body': (answer) => ({ ...answer, body: body(`${Buffer.from(answer.body)}x`) }),
  'a shorter body': (answer) => ({ ...answer, body: answer.body.slice(0, -1) }),
  'no body': (answer) => ({ ...answer, body: body('') }),
  'a body that ends too early': () => null,
  'a stripped signature': (answer) => without(answer, ...OURS),
  'a stripped digest, as if it were a stream': (answer) =>
    withLines(without(answer, 'unencoded-digest'), { 'authmesh-body': ['unsigned'] }),
  'the word that it is a stream, added': (answer) => withLines(answer, { 'authmesh-body': ['unsigned'] }),
  'a second digest': (answer) =>
    withLines(answer, {
      'unencoded-digest': [...(lines(answer)['unencoded-digest'] ?? []), 'sha-256=:AAAA:'],
    }),
  'a second signature of the same name': (answer) =>
    withLines(answer, { signature: [...(lines(answer).signature ?? []), `amesh=:${'A'.repeat(86)}==:`] }),
  'an answer key': (answer) => withLines(answer, { 'authmesh-key': ['e30.e30.AAAA'] }),
  'a registration': (answer) => withLines(answer, { 'authmesh-registration': ['x'] }),
  ...Object.fromEntries(
    COVERED.flatMap((name): [string, Change][] => [
      [`${name}, changed`, (answer) => withLines(answer, { [name]: [`${lines(answer)[name]?.[0]}x`] })],
      [`${name}, removed`, (answer) => without(answer, name)],
      [
        `${name}, with a second line`,
        (answer) => withLines(answer, { [name]: [...(lines(answer)[name] ?? []), 'x=1'] }),
      ],
    ]),
  ),
};

/** What is added to an answer that has none of these. */
const additions = COVERED.filter((name) => name !== 'content-type' && name !== 'unencoded-digest');

describe.each(webServers)('a holder of the line to $name', async (kind) => {
  const runtime = await requireRuntime(kind.runtime);
  describe.skipIf(runtime === null)(runtime?.version ?? 'not installed', () => {
    let server: NonNullable<Awaited<ReturnType<typeof startWebServer>>>;
    let holder: Holder;
    let port: number;
    beforeAll(async () => {
      server = (await startWebServer(kind)) as typeof server;
      port = server.port;
      holder = await holdLine(port);
    });
    afterAll(async () => {
      await holder?.close();
      await server?.close();
    });

    const to = (name: string) =>
      `${kind.framework === 'hono' ? '/plain/kind' : '/kind'}/${encodeURIComponent(name)}`;
    /** What the caller says of an answer that was changed; `broken` if the connection was. */
    const through = async (name: string, change: Change, options: Parameters<typeof ask>[2] = {}) => {
      holder.change = change;
      const { method, headers } = kinds[name] ?? {};
      const asked = ask(port, to(name), { method, headers, ...options, through: holder.port });
      return asked.then(
        ({ proof }) => proof,
        () => 'broken',
      );
    };

    it('that changes nothing is not noticed', async () => {
      expect(await through(FULL, (answer) => answer)).toBe('proven');
      expect(await through('a stream that is not', (answer) => answer)).toBe('stream');
    });

    it.each(Object.entries(changes))('%s', async (_, change) => {
      expect(await through(FULL, change)).not.toMatch(/^(?:proven|stream)$/);
    });

    it.each(additions)('%s, added', async (name) => {
      expect(await through('text', (answer) => withLines(answer, { [name]: ['x=1'] }))).toMatch(
        /does not cover/,
      );
    });

    it('a body after an empty one', async () => {
      for (const name of ['an empty text', 'nothing'])
        expect(await through(name, (answer) => ({ ...answer, body: body('forged') }))).toMatch(
          /body does not match/,
        );
    });

    it('a body where there is none: 204 and 304 turned into 200', async () => {
      for (const name of ['no content', 'not modified'])
        expect(await through(name, (answer) => ({ ...answer, status: 200, body: body('forged') }))).toMatch(
          /does not match/,
        );
    });

    it('a stream instead of events: its head is proven, and its body never is', async () => {
      const forged = body('data: forged\n\n');
      const proof = await through('events that are all there', (answer) => ({ ...answer, body: forged }));
      expect(proof).toBe('stream'); // which a caller gets only if it allows an unproven body
      const claims = (answer: ReceivedAnswer) =>
        withLines(without(answer, 'authmesh-body'), {
          'unencoded-digest': lines(answer)['unencoded-digest'] ?? ['sha-256=:AAAA:'],
        });
      expect(await through('events that are all there', claims)).toMatch(/does not cover/);
    });

    it('the answer to another request, an earlier answer, and those to another caller and of another target', async () => {
      const kept: ReceivedAnswer[] = [];
      const keep: Change = (answer) => {
        kept.push(answer);
        return answer;
      };
      expect(await through('text', keep)).toBe('proven');
      expect(await through('json', keep)).toBe('proven');
      expect(await through('text', keep)).toBe('proven');
      for (const answer of kept)
        expect(await through('text', () => answer)).toBe('it answers another request');

      // The same request with the same nonce, by another caller.
      const view = { method: 'GET', target: to('text'), authority: `127.0.0.1:${port}` };
      const at = { created: Math.floor(Date.now() / 1000), nonce: 'AAAAAAAAAAAAAAAAAAAAAA' };
      const mine = await asking(view, at);
      const others = await asking(view, { ...at, signer: await signerOf('stranger') });
      const given = await receive(port, mine.request);
      expect((await checked(given, mine.expected)).proof).toBe('proven');
      expect((await checked(given, others.expected)).proof).toBe('it answers another request');
      const elsewhere = { ...mine.expected, deviceId: vectors.devices.stranger.deviceId };
      expect((await checked(given, elsewhere)).proof).toMatch(/is signed by/);
    });

    it('cannot ask in the name of others, and gets no signature', async () => {
      await fetch(`http://127.0.0.1:${port}/-/signed`);
      const { request } = await asking(
        { method: 'GET', target: to('text'), authority: `127.0.0.1:${port}` },
        { created: Math.floor(Date.now() / 1000) },
      );
      const forgeries = [
        { ...request, target: to('json') },
        {
          ...request,
          headers: {
            ...request.headers,
            authorization:
              request.headers.authorization?.replace(
                /sig="(.)/,
                (_, first) => `sig="${first === 'A' ? 'B' : 'A'}`,
              ) ?? '',
          },
        },
        { ...request, headers: { ...request.headers, 'content-type': 'text/plain' } },
        { ...request, method: 'HEAD' },
      ];
      for (const forged of forgeries) {
        const answer = await receive(port, forged as typeof request);
        expect(answer.status).toBe(401);
        expect(answer.headers).not.toHaveProperty('signature');
      }
      const replayed = [await receive(port, request), await receive(port, request)];
      expect(replayed.map(({ status }) => status)).toEqual([200, 401]);
      expect(replayed[1]?.headers).not.toHaveProperty('signature');
      expect(await (await fetch(`http://127.0.0.1:${port}/-/signed`)).text()).toBe('1');
    });
  });
});
