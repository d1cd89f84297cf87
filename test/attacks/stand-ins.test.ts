import { EventEmitter } from 'node:events';
import { IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { streamUnverifiedBody } from '@authmesh/sdk';
import serverlessExpress from '@codegenie/serverless-express';
import serverlessHttp from 'serverless-http';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type LambdaHandler, toAnswer, toEvent } from '../support/lambda';
import { signedRaw } from '../support/signed-raw';
import { usePair } from '../support/use-pair';

const HOST = 'api.example.com';
const machines = usePair();

/** What a handler has got, by its stream and on `request.body`. */
interface Got {
  readonly stream: string;
  readonly body: unknown;
}
let got: Got[];
beforeEach(() => {
  got = [];
});

type Verify = ReturnType<(typeof machines)['target']['verify']>;

function serving(verify: Verify): RequestListener {
  return (request, response) =>
    verify(request, response, () => {
      buffer(request).then(
        (bytes) => {
          got.push({ stream: bytes.toString(), body: (request as { body?: unknown }).body });
          response.end('handled');
        },
        () => response.end('broken off'),
      );
    });
}

async function signedLines(body: string, headers: Record<string, string> = {}): Promise<[string, string][]> {
  const raw = await signedRaw(machines.signer, HOST, { method: 'POST', headers, body });
  return raw.headers.map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]);
}
/** Signs the digest of an empty body, which is compared where it is there. */
const EMPTY = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';

const codes = () => machines.refusals.map(({ code }) => code);

const options = { 'a buffered body': {}, 'a streamed body': { [streamUnverifiedBody]: true } };

describe.each(Object.entries(options))('%s', (_name, streaming) => {
  let handlers: Record<string, LambdaHandler>;
  beforeAll(() => {
    const listener = serving(machines.target.verify({ hosts: [HOST], ...streaming }));
    const context = { callbackWaitsForEmptyEventLoop: true } as never;
    const express = serverlessExpress({ app: listener as never });
    const http = serverlessHttp(listener as never);
    handlers = {
      'serverless-http': (event) => http(event, context),
      '@codegenie/serverless-express': (event) =>
        express(event, context, () => {}) as unknown as Promise<unknown>,
    };
  });

  describe.each(['serverless-http', '@codegenie/serverless-express'])('%s', (name) => {
    const call = async (headers: [string, string][], body: string) =>
      toAnswer(
        await (handlers[name] as LambdaHandler)(
          toEvent({ method: 'POST', target: '/', headers, body }, 'REST API 1.0'),
        ),
      );

    it('the digest of an empty body is signed, and the event carries another body', async () => {
      const answer = await call(await signedLines('', { 'content-digest': EMPTY }), '{"amount":1}');
      expect(codes()).toEqual(['content_digest_mismatch']);
      expect(got).toEqual([]);
      expect(answer.status).toBe(401);
    });

    it('no digest is signed, and the event has a body', async () => {
      await call(await signedLines(''), '{"amount":1}');
      expect(codes()).toEqual(['content_digest_missing']);
      expect(got).toEqual([]);
    });

    it.each(['', 'signed'])('a Content-Length of 0 hides no body of an event (%s)', async (signed) => {
      const lines = await signedLines(signed, signed === '' ? { 'content-digest': EMPTY } : {});
      await call([...lines, ['Content-Length', '0']], '{"amount":1}');
      expect(codes()).toHaveLength(1);
      expect(got).toEqual([]);
    });

    it.each([
      ['fewer bytes than announced', '7', 'body_incomplete'],
      ['more bytes than announced', '5', 'malformed_header'],
      ['a length that is not a number', 'abc', 'malformed_header'],
      ['two lengths', '6, 6', 'malformed_header'],
      ['a negative length', '-1', 'malformed_header'],
      ['a length in hexadecimal', '0x6', 'malformed_header'],
      ['a length with a fraction', '6.0', 'malformed_header'],
    ])('%s', async (_what, length, code) => {
      await call([...(await signedLines('signed')), ['Content-Length', length]], 'signed');
      // serverless-express puts the true length in the place of any other.
      const isMended = name === '@codegenie/serverless-express';
      expect(codes()).toEqual(isMended ? [] : [code]);
      expect(got).toHaveLength(isMended ? 1 : 0);
    });

    it('the signed bytes arrive completely', async () => {
      const answer = await call(await signedLines('signed'), 'signed');
      expect(codes()).toEqual([]);
      expect(got).toEqual([{ stream: 'signed', body: Buffer.from('signed') }]);
      expect(answer).toMatchObject({ status: 200, body: 'handled' });
    });
  });

  /** Requests such as adapters and tests make them, each with some of what one has. */
  class StandIn extends IncomingMessage {
    constructor(lines: [string, string][], chunks: readonly (string | null)[], own: object = {}) {
      super(new Socket());
      const headers = Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value]));
      Object.assign(this, { method: 'POST', url: '/', headers, ...own });
      const rest = [...chunks];
      this._read = () => {
        const chunk = rest.shift();
        if (chunk !== undefined) setImmediate(() => this.push(chunk));
      };
    }
  }
  const serve = async (request: IncomingMessage): Promise<number> => {
    const response = new ServerResponse(request);
    const verify = machines.target.verify({ hosts: [HOST], ...streaming });
    const ended = new Promise<void>((resolve) => {
      response.end = (() => {
        resolve();
        return response;
      }) as never;
    });
    serving(verify)(request, response);
    await ended;
    return response.statusCode;
  };

  it.each([
    ['complete from the start', { complete: true }],
    ['never complete', { complete: false }],
    ['without a word on it', { complete: undefined }],
  ])('a request that is %s is read to its own end', async (_what, own) => {
    const lines = await signedLines('signed');
    expect(await serve(new StandIn(lines, ['sig', 'ned', null], own))).toBe(200);
    expect(got).toEqual([{ stream: 'signed', body: undefined }]);

    const empty = await signedLines('', { 'content-digest': EMPTY });
    await serve(new StandIn(empty, ['unsigned', null], own));
    expect(got).toHaveLength(1);
    expect(codes()).toEqual(['content_digest_mismatch']);
  });

  it.each([
    ['other bytes', Buffer.from('unsigned')],
    ['another text', 'unsigned'],
    ['an object', { unsigned: true }],
    ['an array', []],
    ['a number', 0],
  ])('%s on request.body next to an empty stream', async (_what, body) => {
    const lines = await signedLines('', { 'content-digest': EMPTY });
    for (const own of [{ body }, { rawBody: body }]) {
      machines.refusals.length = 0;
      expect(
        await serve(
          new StandIn(
            lines.map(([name, value]) => [name, value]),
            [null],
            own,
          ),
        ),
      ).not.toBe(200);
      expect(codes()).toHaveLength(1);
    }
    expect(got).toEqual([]);
  });

  it('other bytes on request.body than the signed ones', async () => {
    const own = { body: Buffer.from('unsigned') };
    expect(await serve(new StandIn(await signedLines('signed'), ['signed', null], own))).toBe(500);
    expect(codes()).toEqual(['body_parser_ordering_error']);
    expect(got).toEqual([]);
  });

  it('a request whose stream breaks off', async () => {
    const request = new StandIn(await signedLines('signed'), ['sig']);
    const served = serve(request);
    await sleep(20);
    request.destroy();
    if (_name === 'a buffered body') expect(await served).toBe(400);
    await expect.poll(codes).toEqual(['body_incomplete']);
    expect(got).toEqual([]);
  });

  it('a request that is not a stream, with what it has', async () => {
    const make = async (signed: string, own: object) => {
      const lines = await signedLines(signed, signed === '' ? { 'content-digest': EMPTY } : {});
      const headers = Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value]));
      return Object.assign(new EventEmitter(), { method: 'POST', url: '/', headers, ...own });
    };
    const verify = machines.target.verify({ hosts: [HOST], ...streaming });
    const verdict = (request: object) =>
      new Promise<string>((resolve) => {
        const response = Object.assign(new EventEmitter(), {
          headersSent: false,
          setHeader() {},
          getHeader() {},
          end: () => resolve(machines.refusals.at(-1)?.code ?? 'none'),
        });
        verify(request as never, response as never, () => resolve('accepted'));
      });
    expect(await verdict(await make('signed', { body: 'signed' }))).toBe('accepted');
    expect(await verdict(await make('signed', { rawBody: 'signed', body: {} }))).toBe('accepted');
    expect(await verdict(await make('signed', { rawBody: Buffer.from('signed') }))).toBe('accepted');
    expect(await verdict(await make('', {}))).toBe('accepted');
    expect(await verdict(await make('', { body: 'unsigned' }))).toBe('content_digest_mismatch');
    expect(await verdict(await make('', { body: { unsigned: true } }))).toBe('body_parser_ordering_error');
    expect(await verdict(await make('signed', { body: { unsigned: true } }))).toBe(
      'body_parser_ordering_error',
    );
    expect(await verdict(await make('signed', {}))).toBe('content_digest_mismatch');
  });
});
