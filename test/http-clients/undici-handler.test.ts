import { Writable } from 'node:stream';
import type { SignCallOptions } from '@authmesh/sdk';
import { signing } from '@authmesh/sdk/undici';
import { Agent, type Dispatcher, interceptors, request, stream } from 'undici';
import { expect, it } from 'vitest';
import { useKnownTarget } from '../support/use-known-target';

const known = useKnownTarget();

/** A target that refuses each request, with a body of so many bytes. */
const refusing = (bytes: number) =>
  known.serve({
    front: (_request, response) => {
      response.writeHead(401, {
        'www-authenticate': 'AuthMesh error="unauthorized"',
        'content-type': 'application/json',
      });
      return Boolean(response.end('x'.repeat(bytes)));
    },
  });
const agent = (...more: Dispatcher.DispatcherComposeInterceptor[]) =>
  new Agent({ keepAliveTimeout: 10 }).compose(signing(known.callerWith()), ...more);

it.each([20, 10_000])('an error thrown for a refusal of %i bytes rejects the call', async (bytes) => {
  const { origin } = await refusing(bytes);
  const sending = stream(origin, { dispatcher: agent(), method: 'GET' }, ({ statusCode }) => {
    throw new Error(`It says ${statusCode}.`);
  });
  await expect(sending).rejects.toThrow('It says 401.');
});

it('an error thrown for the body of a refusal rejects the call', async () => {
  const { origin } = await refusing(20);
  const sending = stream(
    origin,
    { dispatcher: agent(), method: 'GET' },
    () => new Writable({ write: (_chunk, _encoding, done) => done(new Error('The disk is full.')) }),
  );
  await expect(sending).rejects.toThrow('The disk is full.');
});

it('an interceptor that throws for a refusal rejects the call', async () => {
  const { origin } = await refusing(20);
  const dispatcher = agent(interceptors.responseError());
  const sending = stream(origin, { dispatcher, method: 'GET' }, () => new Writable());
  await expect(sending).rejects.toMatchObject({ statusCode: 401 });
});

it('a handler is told of its error once, and gets nothing more', async () => {
  const { origin } = await refusing(20);
  const told: string[] = [];
  await new Promise<void>((resolve) => {
    const handler = {
      onRequestStart: () => {},
      onResponseStart: () => {
        told.push('start');
        throw new Error('no');
      },
      onResponseData: () => told.push('data'),
      onResponseEnd: () => told.push('end'),
      onResponseError: (_controller: unknown, error: Error) => {
        told.push(error.message);
        setTimeout(resolve, 50);
      },
    };
    agent().dispatch({ origin, path: '/', method: 'GET' }, handler as never);
  });
  expect(told).toEqual(['start', 'no']);
});

it('an abort ends the wait for another key', async () => {
  const { origin } = await refusing(20);
  const amesh = known.callerWith();
  const never = {
    sign: async (request: Parameters<typeof amesh.sign>[0]) => ({
      ...(await amesh.sign(request)),
      answered: () => new Promise<never>(() => {}),
    }),
  };
  const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(never));
  const sending = request(origin, { dispatcher, signal: AbortSignal.timeout(100) });
  await expect(sending).rejects.toThrow('aborted due to timeout');
});

it('early hints are no answer of the target', async () => {
  const { origin } = await known.serve({
    front: (_request, response) => {
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
      return false;
    },
  });
  const amesh = known.callerWith();
  const heard: number[] = [];
  const listening = {
    sign: async (asked: Parameters<typeof amesh.sign>[0]) => {
      const signed = await amesh.sign(asked);
      const answered: typeof signed.answered = (answer) => {
        heard.push(answer.status);
        return signed.answered(answer);
      };
      return { ...signed, answered };
    },
  };
  const infos: number[] = [];
  const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(listening));
  const { statusCode, body } = await request(origin, {
    dispatcher,
    onInfo: (info) => void infos.push(info.statusCode),
  });
  await body.dump();
  expect([infos, statusCode, heard]).toEqual([[103], 200, [200]]);
});

it('an abort ends the wait for a signature', async () => {
  const waiting = {
    sign: (_request: unknown, { signal }: SignCallOptions = {}) =>
      new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
  };
  const dispatcher = new Agent().compose(signing(waiting));
  const sending = request('http://127.0.0.1:9', { dispatcher, signal: AbortSignal.timeout(50) });
  await expect(sending).rejects.toThrow('aborted due to timeout');
});
