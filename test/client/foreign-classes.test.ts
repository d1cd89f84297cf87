import { createServer } from 'node:http';
import { Readable } from 'node:stream';
import { runInNewContext } from 'node:vm';
import FormDataOfPackage from 'form-data';
import { File as NodeFile, FormData as NodeFormData } from 'formdata-node';
import nodeFetch, {
  Blob as FetchBlob,
  FormData as FetchFormData,
  Headers as FetchHeaders,
  Request as FetchRequest,
} from 'node-fetch';
import nodeFetch2 from 'node-fetch2';
import * as undici from 'undici';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { usePair } from '../support/use-pair';

const machines = usePair();

/** What arrived and was accepted, oldest first. */
interface Arrived {
  readonly method: string;
  readonly target: string;
  readonly type: string | undefined;
  readonly tag: string | undefined;
  readonly body: string;
}

let server: Listening;
let arrived: Arrived[];
beforeEach(() => {
  arrived = [];
});
beforeAll(async () => {
  const verify = machines.target.verify();
  server = await listen(
    createServer((req, res) => {
      verify(req, res, async () => {
        let body = '';
        for await (const chunk of req) body += chunk;
        const { 'content-type': type, 'x-tag': tag } = req.headers;
        arrived.push({
          method: req.method as string,
          target: req.url as string,
          type,
          tag: tag as string,
          body,
        });
        const to = /^\/redirect\?(.*)$/.exec(req.url as string)?.[1];
        if (to === undefined) res.end('ok');
        else res.writeHead(302, { location: to }).end('x'.repeat(100_000));
      });
    }),
  );
});
afterAll(() => server.close());

type Fetch = typeof globalThis.fetch;
const fetches: Record<string, Fetch | undefined> = {
  'the global fetch': undefined,
  "undici's fetch": undici.fetch as unknown as Fetch,
  'node-fetch 3': nodeFetch as unknown as Fetch,
  'node-fetch 2': nodeFetch2 as unknown as Fetch,
};
const makers: Record<string, new (url: string, init?: object) => Request> = {
  'a Request': Request as never,
  "undici's Request": undici.Request as never,
  "node-fetch's Request": FetchRequest as never,
  "node-fetch 2's Request": nodeFetch2.Request as never,
};

describe.each(Object.entries(fetches))('%s', (_, fetch) => {
  const call = (...args: Parameters<Fetch>) => machines.controllerWith(fetch ? { fetch } : {}).fetch(...args);

  it('sends a URL and options', async () => {
    const response = await call(`${server.origin}/a?b`, {
      method: 'POST',
      body: 'hello',
      headers: { 'x-tag': '1' },
    });
    expect([response.status, await response.text()]).toEqual([200, 'ok']);
    const type = 'text/plain;charset=UTF-8';
    expect(arrived).toEqual([{ method: 'POST', target: '/a?b', type, tag: '1', body: 'hello' }]);
  });

  it.each(Object.entries(makers))('sends %s, and another one with options', async (_, Made) => {
    const init = { method: 'PUT', body: 'hello', headers: { 'content-type': 'text/x', 'x-tag': '2' } };
    expect((await call(new Made(`${server.origin}/a?b`, init))).status).toBe(200);
    expect((await call(new Made(`${server.origin}/c`), { headers: { 'x-tag': '3' } })).status).toBe(200);
    expect(arrived).toEqual([
      { method: 'PUT', target: '/a?b', type: 'text/x', tag: '2', body: 'hello' },
      { method: 'GET', target: '/c', type: undefined, tag: '3', body: '' },
    ]);
  });

  it.each(Object.entries(makers))('signs %s again for a redirect', async (_, Made) => {
    const request = new Made(`${server.origin}/redirect?/to`, { headers: { 'x-tag': '4' } });
    const response = await call(request);
    expect([response.status, await response.text(), response.redirected]).toEqual([200, 'ok', true]);
    expect(arrived.map(({ target, tag }) => [target, tag])).toEqual([
      ['/redirect?/to', '4'],
      ['/to', '4'],
    ]);
  });

  it('gets an explanation if the server refuses', async () => {
    const told: string[] = [];
    const amesh = machines.controllerWith({
      ...(fetch ? { fetch } : {}),
      onRefusal: (refusal) => void told.push(refusal.code),
    });
    const response = await amesh.fetch(`http://127.0.0.1:${server.port}/x`, {
      headers: { 'content-type': 'a/b' },
    });
    expect(response.status).toBe(200);
    await amesh.fetch(`http://a.localhost:${server.port}/`).catch(() => {}); // not every resolver knows it
    expect(told.every((code) => code === 'wrong_host')).toBe(true);
  });
});

describe('headers', () => {
  const kinds: Record<string, object> = {
    'of undici': new undici.Headers({ 'x-tag': 'a' }),
    'of node-fetch 3': new FetchHeaders({ 'x-tag': 'a' }),
    'of node-fetch 2': new nodeFetch2.Headers({ 'x-tag': 'a' }),
    'of a Map': new Map([['x-tag', 'a']]),
    'of another realm': runInNewContext(`[['x-tag', 'a']]`),
    'of another realm, as an object': runInNewContext(`({ 'x-tag': 'a' })`),
  };
  it.each(Object.entries(kinds))('%s', async (_, headers) => {
    await machines.controller.fetch(server.origin, { headers: headers as Record<string, string> });
    expect(arrived[0]?.tag).toBe('a');
  });
});

/** Bodies of foreign classes: what arrives, and as which type. */
const bodies: Record<string, { make: () => unknown; body: string | RegExp; type?: RegExp }> = {
  'bytes of another realm': { make: () => runInNewContext('Uint8Array.of(104, 105)'), body: 'hi' },
  'an ArrayBuffer of another realm': {
    make: () => runInNewContext('Uint8Array.of(104, 105).buffer'),
    body: 'hi',
  },
  'a generator of another realm': {
    make: () => runInNewContext('(async function* () { yield Uint8Array.of(104); yield "i"; })()'),
    body: 'hi',
  },
  'a stream with chunks of another realm': {
    make: () => {
      const chunk = runInNewContext('Uint8Array.of(104, 105)');
      return new ReadableStream({
        start(controller) {
          controller.enqueue(chunk);
          controller.close();
        },
      });
    },
    body: 'hi',
  },
  'a stream that is only read': {
    make: () => {
      const reader = new Blob(['hi']).stream().getReader();
      return { getReader: () => reader, [Symbol.toStringTag]: 'ReadableStream' };
    },
    body: 'hi',
  },
  'a Blob of node-fetch': {
    make: () => new FetchBlob(['hi'], { type: 'text/x' }),
    body: 'hi',
    type: /^text\/x$/,
  },
  'a File of formdata-node': {
    make: () => new NodeFile(['hi'], 'a.txt', { type: 'text/x' }),
    body: 'hi',
    type: /^text\/x$/,
  },
  'a FormData of formdata-node': {
    make: () => {
      const form = new NodeFormData();
      form.set('a', 'b');
      form.set('f', new NodeFile(['hi'], 'a.txt', { type: 'text/x' }));
      return form;
    },
    body: /name="a"\r\n\r\nb\r\n.*filename="a.txt"\r\nContent-Type: text\/x\r\n\r\nhi\r\n/s,
    type: /^multipart\/form-data; boundary=/,
  },
  'a FormData of node-fetch': {
    make: () => {
      const form = new FetchFormData();
      form.set('a', 'b');
      form.set('f', new FetchBlob(['hi'], { type: 'text/x' }), 'a.txt');
      return form;
    },
    body: /name="a"\r\n\r\nb\r\n.*filename="a.txt"\r\nContent-Type: text\/x\r\n\r\nhi\r\n/s,
    type: /^multipart\/form-data; boundary=/,
  },
  'a FormData of undici': {
    make: () => {
      const form = new undici.FormData();
      form.set('a', 'b');
      return form;
    },
    body: /name="a"\r\n\r\nb\r\n/,
    type: /^multipart\/form-data; boundary=/,
  },
  'a form of the package form-data': {
    make: () => {
      const form = new FormDataOfPackage();
      form.append('a', 'b');
      form.append('f', Readable.from([Buffer.from('hi')]), { filename: 'a.txt', contentType: 'text/x' });
      return form;
    },
    body: /name="a"\r\n\r\nb\r\n.*filename="a.txt"\r\nContent-Type: text\/x\r\n\r\nhi\r\n/s,
    type: /^multipart\/form-data; boundary=/,
  },
  'URLSearchParams of another class': {
    make: () => ({ [Symbol.toStringTag]: 'URLSearchParams', toString: () => 'a=b' }),
    body: 'a=b',
    type: /^application\/x-www-form-urlencoded;charset=UTF-8$/,
  },
};

it.each(Object.entries(bodies))('a body: %s', async (_, { make, body, type }) => {
  const response = await machines.controller.fetch(server.origin, {
    method: 'POST',
    body: make() as BodyInit,
  });
  expect(response.status).toBe(200);
  expect(arrived[0]?.body).toMatch(typeof body === 'string' ? new RegExp(`^${body}$`) : body);
  if (type === undefined) expect(arrived[0]?.type).toBeUndefined();
  else expect(arrived[0]?.type).toMatch(type);
});

describe('a signal of another class', () => {
  /** As the package abort-controller has it. */
  class OtherSignal extends EventTarget {
    aborted = false;
    abort() {
      this.aborted = true;
      this.dispatchEvent(new Event('abort'));
    }
  }
  const amesh = () => machines.controllerWith({ fetch: nodeFetch as unknown as Fetch });

  it('does not disturb the call', async () => {
    const signal = new OtherSignal() as unknown as AbortSignal;
    const body = Readable.from([Buffer.from('hi')]) as unknown as BodyInit;
    const response = await amesh().fetch(server.origin, { method: 'POST', body, signal });
    expect(response.status).toBe(200);
    expect(arrived[0]?.body).toBe('hi');
  });

  it('has no listener of ours once a call is over, whatever happened to its body', async () => {
    let listeners = 0;
    class Counted extends OtherSignal {
      override addEventListener(...args: Parameters<EventTarget['addEventListener']>) {
        listeners++;
        super.addEventListener(...args);
      }
      override removeEventListener(...args: Parameters<EventTarget['removeEventListener']>) {
        listeners--;
        super.removeEventListener(...args);
      }
    }
    const signal = new Counted() as unknown as AbortSignal;
    const counting = machines.controllerWith({ fetch: async () => new Response('ok'), maxBufferedBytes: 10 });
    const post = (text: string) =>
      counting.fetch(server.origin, { method: 'POST', body: new Blob([text]).stream(), signal });
    expect((await post('hi')).status).toBe(200);
    await expect(post('more than 10 bytes')).rejects.toMatchObject({ code: 'payload_too_large' });
    expect(listeners).toBe(0);
  });

  it('ends a call before it starts, and while a body is read', async () => {
    const before = new OtherSignal();
    before.abort();
    const early = amesh().fetch(server.origin, { signal: before as unknown as AbortSignal });
    await expect(early).rejects.toThrow();
    const signal = new OtherSignal();
    let isCancelled = false;
    const body = new ReadableStream({
      pull: () => signal.abort(),
      cancel() {
        isCancelled = true;
      },
    });
    const late = amesh().fetch(server.origin, {
      method: 'POST',
      body,
      signal: signal as unknown as AbortSignal,
    });
    await expect(late).rejects.toMatchObject({ name: 'AbortError' });
    await expect.poll(() => isCancelled).toBe(true);
    expect(arrived).toEqual([]);
  });
});
