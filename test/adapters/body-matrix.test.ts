import { createHash, randomBytes } from 'node:crypto';
import type { Amesh } from '@authmesh/sdk';
import type { Request, RequestHandler } from 'express';
import multer from 'multer';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { frameworks } from '../support/frameworks';
import { latest } from '../support/full';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

interface Payload {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type: string;
  /** Whether decoding it as text gives the same bytes back. */
  readonly isText: boolean;
  /** What a parser of multipart forms finds in it. */
  readonly file?: Uint8Array;
}

const utf8 = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
const binary = new Uint8Array(randomBytes(100_000));
binary.set([0xef, 0xbb, 0xbf, 0xff, 0xfe, 0x00, 0x80]); // a byte order mark first, then what is no UTF-8

const form = new FormData();
form.set('note', 'grüße ☃');
form.set('file', new Blob([binary], { type: 'application/octet-stream' }), 'blob.bin');
const encodedForm = new Response(form);

const payloads = {
  json: { bytes: utf8('{"text":"grüße ☃ 😀","n":[1,2.5e-7]}'), type: 'application/json', isText: true },
  form: { bytes: utf8('a=1&b=+x&b=%C3%A4'), type: 'application/x-www-form-urlencoded', isText: true },
  multipart: {
    type: encodedForm.headers.get('content-type') as string,
    bytes: new Uint8Array(await encodedForm.arrayBuffer()),
    isText: false,
    file: binary,
  },
  binary: { bytes: binary, type: 'application/octet-stream', isText: false },
  text: {
    bytes: utf8('grüße ☃ 😀 \ufffd\r\n'.repeat(9_000)),
    type: 'text/plain;charset=UTF-8',
    isText: true,
  },
} satisfies Record<string, Payload>;

/** What `fetch` can be given as a body; each gives the bytes of the payload. */
const bodies: Record<string, (payload: Payload) => RequestInit> = {
  Blob: ({ bytes, type }) => ({ body: new Blob([bytes], { type }) }),
  ArrayBuffer: ({ bytes, type }) => ({ body: bytes.slice().buffer, headers: { 'content-type': type } }),
  'typed array within a larger buffer': ({ bytes, type }) => ({
    body: within(bytes),
    headers: { 'content-type': type },
  }),
  'DataView within a larger buffer': ({ bytes, type }) => {
    const view = within(bytes);
    return {
      body: new DataView(view.buffer, view.byteOffset, view.byteLength),
      headers: { 'content-type': type },
    };
  },
  stream: ({ bytes, type }) => ({
    body: new Blob([bytes]).stream(),
    headers: { 'content-type': type },
    duplex: 'half',
  }),
  string: ({ bytes, type }) => ({
    body: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes),
    headers: { 'content-type': type },
  }),
  URLSearchParams: ({ bytes }) => ({ body: new URLSearchParams(new TextDecoder().decode(bytes)) }),
  FormData: () => ({ body: form }),
};

function within(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length + 20);
  larger.set(bytes, 10);
  return larger.subarray(10, 10 + bytes.length);
}

const cases = Object.keys(bodies).flatMap((body) =>
  (Object.keys(payloads) as (keyof typeof payloads)[])
    .filter((payload) => {
      if (body === 'string') return payloads[payload].isText;
      if (body === 'URLSearchParams') return payload === 'form';
      return body !== 'FormData' || payload === 'multipart';
    })
    .map((payload) => ({ body, payload })),
);

const befores = ['no parser', 'express.text()', 'express.raw()', 'express.json() with rawBody'] as const;
const afters = ['a parser', 'a raw pipe'] as const;
const pathOf = (before: (typeof befores)[number], after: (typeof afters)[number]) =>
  `/${befores.indexOf(before)}/${afters.indexOf(after)}`;

describe.each(latest(frameworks))('bodies through $name', ({ express }) => {
  let machines: Machines;
  let controller: Amesh;
  let server: Listening;
  let sent: Uint8Array;
  let handled: number;

  beforeAll(async () => {
    machines = await createMachines();
    controller = machines.controllerWith({
      fetch: (input, init) => {
        sent = init?.body as Uint8Array;
        return fetch(input, init);
      },
    });
    const { target } = machines;
    const parsed = new WeakMap<Request, Buffer>();
    const keep = (request: object, _response: unknown, bytes: Buffer) =>
      void parsed.set(request as Request, Buffer.from(bytes));
    const before: Record<(typeof befores)[number], RequestHandler[]> = {
      'no parser': [],
      'express.text()': [express.text({ type: '*/*', limit: '1mb' })],
      'express.raw()': [express.raw({ type: '*/*', limit: '1mb' })],
      'express.json() with rawBody': [express.json({ verify: target.rawBody })],
    };
    const after: Record<(typeof afters)[number], RequestHandler[]> = {
      'a parser': [
        express.json({ verify: keep }),
        express.urlencoded({ extended: true, verify: keep }),
        multer().any(),
      ],
      'a raw pipe': [],
    };
    const app = express();
    for (const first of befores) {
      for (const last of afters) {
        app.post(
          pathOf(first, last),
          ...before[first],
          target.verify(),
          ...after[last],
          async (request: Request, response) => {
            handled++;
            response.json({ sha256: sha256(await received(request, parsed)) });
          },
        );
      }
    }
    server = await listen(app);
  });
  afterAll(async () => {
    await server.close();
    await machines.remove();
  });
  beforeEach(() => {
    machines.refusals.length = 0;
    handled = 0;
  });

  /** The bytes as the handler gets them, from wherever the parsers of this cell have left them. */
  async function received(request: Request, parsed: WeakMap<Request, Buffer>): Promise<Uint8Array> {
    const { body } = request;
    const { files } = request as { files?: { buffer: Buffer }[] };
    if (files?.[0] !== undefined) return files[0].buffer;
    if (Buffer.isBuffer(body)) return body;
    if (typeof body === 'string') return Buffer.from(body);
    const bytes = parsed.get(request);
    if (bytes !== undefined) return bytes;
    if (request.readableEnded) return Buffer.from(JSON.stringify(body));
    return Buffer.concat(await request.toArray());
  }

  describe.each(befores)('%s before verify()', (before) => {
    describe.each(afters)('%s after verify()', (after) => {
      const url = () => server.origin + pathOf(before, after);

      // multer cannot parse what express.raw() has read: such a server is wrong with or without verify().
      const possible = cases.filter(
        ({ payload }) => !(payload === 'multipart' && before === 'express.raw()' && after === 'a parser'),
      );

      it.each(possible)('$payload as $body', async ({ body, payload: name }) => {
        const payload: Payload = payloads[name];
        const init = bodies[body]?.(payload) as RequestInit;
        const response = await controller.fetch(url(), { method: 'POST', ...init });
        const codes = machines.refusals.map(({ code }) => code);

        if (before === 'express.text()' && !payload.isText) {
          expect(codes).toEqual(['body_parser_ordering_error']);
          expect(response.status).toBe(500);
          expect(await response.json()).toEqual({ error: 'body_parser_ordering_error' });
          expect(machines.refusals[0]?.fix).toBe('Put amesh.verify() before it, or use express.raw().');
          expect(handled).toBe(0);
          return;
        }
        expect(codes).toEqual([]);
        expect(response.status).toBe(200);
        const expected = name === 'multipart' && after === 'a parser' ? (payload.file as Uint8Array) : sent;
        expect(((await response.json()) as { sha256: string }).sha256).toBe(sha256(expected));
        if (body !== 'FormData') expect(sha256(sent)).toBe(sha256(payload.bytes));
        expect(handled).toBe(1);
      });
    });
  });
});
