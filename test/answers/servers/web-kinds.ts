/** An answer of a handler, and what its caller learns about it. */
export interface Kind {
  readonly answer: (request: Request) => Response | Promise<Response>;
  /** `stream`: its head is proven, and says that its body is not. */
  readonly proof: 'proven' | 'stream';
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** What the caller must get; default 200. */
  readonly status?: number;
  /** What the body must be; default: not looked at. */
  readonly text?: string;
  /** Fields that must be covered. */
  readonly covered?: readonly string[];
}

/** The size from which a body is not held back, in bytes. */
export const MAX_ANSWER_BYTES = 10_000;

const bytes = (text: string) => new TextEncoder().encode(text);
const response = (body: BodyInit | null, headers: HeadersInit = {}, status = 200) =>
  new Response(body, { status, headers });
const soon = () => new Promise((resolve) => setTimeout(resolve));

/** A stream that ends, but not at once. */
const trickling = (text = 'abc') =>
  new ReadableStream<Uint8Array>({
    async start(controller) {
      for (const letter of text) {
        controller.enqueue(bytes(letter));
        await soon();
      }
      controller.close();
    },
  });
const ready = (text: string) =>
  new ReadableStream<Uint8Array>({
    start(controller) {
      for (const letter of text) controller.enqueue(bytes(letter));
      controller.close();
    },
  });

function form(): FormData {
  const values = new FormData();
  values.set('a', 'b');
  values.set('f', new Blob(['file']), 'f.txt');
  return values;
}

/** A response that somebody else has signed, as a handler passes it on. */
export const OTHERS = {
  'signature-input': 'sig1=("@status");created=1, amesh=("@status");created=1;nonce="x,y";tag="amesh-answer"',
  signature: 'sig1=:AAAA:, amesh=:BBBB:',
  'authmesh-key': 'e30.e30.AAAA',
  'unencoded-digest': 'sha-256=:AAAA:',
};

const cookies = (): HeadersInit => [
  ['set-cookie', 'a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT'],
  ['set-cookie', 'b=2, c=3'],
];

/** One response for all requests. */
const nothing = response(null);

/** Answers that are responses alone, whatever the framework. */
export const kinds: Readonly<Record<string, Kind>> = {
  text: { answer: () => response('hello'), proof: 'proven', text: 'hello' },
  json: {
    answer: () => Response.json({ a: 'ü'.repeat(512) }),
    proof: 'proven',
    text: JSON.stringify({ a: 'ü'.repeat(512) }),
    covered: ['content-type'],
  },
  'an empty text': { answer: () => response(''), proof: 'proven', text: '' },
  nothing: { answer: () => nothing, proof: 'proven', text: '' },
  'bytes without a type': {
    answer: () => response(bytes('abc')),
    proof: 'proven',
    text: 'abc',
    covered: ['content-type'],
  },
  'bytes that are no text, as they end within a character': {
    answer: () => response(new Uint8Array([0x41, 0xe2])),
    proof: 'proven',
  },
  'bytes that are no text': { answer: () => response(new Uint8Array([0xff, 0xfe])), proof: 'proven' },
  'a blob without a type': { answer: () => response(new Blob(['abc'])), proof: 'proven', text: 'abc' },
  'a buffer': { answer: () => response(bytes('abc').buffer), proof: 'proven', text: 'abc' },
  'a blob': {
    answer: () => response(new Blob(['abc'], { type: 'image/png' })),
    proof: 'proven',
    text: 'abc',
  },
  'a form': { answer: () => response(form()), proof: 'proven', covered: ['content-type'] },
  'a query string': { answer: () => response(new URLSearchParams('a=b')), proof: 'proven', text: 'a=b' },
  'the largest body': {
    answer: () => response('x'.repeat(MAX_ANSWER_BYTES)),
    proof: 'proven',
    text: 'x'.repeat(MAX_ANSWER_BYTES),
  },
  'one byte more': {
    answer: () => response('x'.repeat(MAX_ANSWER_BYTES + 1)),
    proof: 'stream',
    text: 'x'.repeat(MAX_ANSWER_BYTES + 1),
  },
  'a large body of a known length': {
    answer: () => response('x'.repeat(30_000), { 'content-length': '30000' }),
    proof: 'stream',
    text: 'x'.repeat(30_000),
  },
  'a stream that is complete': { answer: () => response(ready('abc')), proof: 'proven', text: 'abc' },
  'a stream that is not': { answer: () => response(trickling()), proof: 'stream', text: 'abc' },
  'a stream of a known length': {
    answer: () => response(trickling(), { 'content-length': '3', 'content-type': 'text/plain' }),
    proof: 'proven',
    text: 'abc',
  },
  'a piped text': {
    answer: () => response((response('abc').body as ReadableStream).pipeThrough(new TransformStream())),
    proof: 'proven',
    text: 'abc',
  },
  'events that are all there': {
    answer: () => response(ready('data: 1\n\n'), { 'content-type': 'text/event-stream' }),
    proof: 'stream',
    text: 'data: 1\n\n',
  },
  created: {
    answer: () => response('made', { location: '/made/1', link: '</made>; rel="up"' }, 201),
    proof: 'proven',
    status: 201,
    covered: ['location', 'link'],
  },
  refused: {
    answer: () => response('{}', { 'www-authenticate': 'Bearer', 'retry-after': '3' }, 401),
    proof: 'proven',
    status: 401,
    covered: ['www-authenticate', 'retry-after'],
  },
  'a redirect': {
    answer: () => Response.redirect('https://example.com/', 302),
    proof: 'proven',
    status: 302,
    covered: ['location'],
  },
  'no content': { answer: () => response(null, {}, 204), proof: 'proven', status: 204, text: '' },
  'not modified': {
    answer: () => response(null, { etag: '"x"' }, 304),
    proof: 'proven',
    headers: { 'if-none-match': '"x"' },
    status: 304,
    covered: ['etag'],
  },
  'a part': {
    answer: () => response('bc', { 'content-range': 'bytes 1-2/3', 'content-type': 'text/plain' }, 206),
    proof: 'proven',
    headers: { range: 'bytes=1-2' },
    status: 206,
    covered: ['content-range'],
  },
  'to HEAD': { answer: () => response('hello'), proof: 'proven', method: 'HEAD', text: '' },
  'a stream to HEAD': { answer: () => response(trickling()), proof: 'proven', method: 'HEAD', text: '' },
  cookies: { answer: () => response('x', cookies()), proof: 'proven', covered: ['set-cookie'] },
  'a stream with cookies': {
    answer: () => response(trickling(), cookies()),
    proof: 'stream',
    covered: ['set-cookie'],
  },
  'a cached one': {
    answer: () => response('x', { etag: '"1"', age: '3', 'cache-control': 'private, max-age=60' }),
    proof: 'proven',
    covered: ['etag', 'age'],
  },
  'with every field': {
    answer: () =>
      response(
        '{"paid":true}',
        [
          ...(cookies() as [string, string][]),
          ['content-type', 'application/json'],
          ['location', '/orders/1'],
          ['www-authenticate', 'Bearer'],
          ['retry-after', '3'],
          ['etag', '"1"'],
          ['link', '</>; rel="up"'],
          ['content-range', 'bytes */13'],
          ['age', '3'],
        ],
        201,
      ),
    proof: 'proven',
    status: 201,
    text: '{"paid":true}',
  },
  'one that another target has signed': {
    answer: () => response('abc', OTHERS),
    proof: 'proven',
    text: 'abc',
  },
  'a stream that another target has signed': {
    answer: () => {
      const { 'unencoded-digest': _, ...headers } = OTHERS;
      return response(trickling(), { ...headers, 'authmesh-body': 'unsigned' });
    },
    proof: 'stream',
    text: 'abc',
  },
  'a digest of another kind': {
    answer: () => response('abc', { 'unencoded-digest': 'sha-512=:AA==:' }),
    proof: 'proven',
    text: 'abc',
  },
  'a stream with a digest of another kind': {
    answer: () => response(trickling(), { 'unencoded-digest': 'sha-512=:AA==:' }),
    proof: 'stream',
    text: 'abc',
  },
  'what a fetch() has brought, in pieces': {
    answer: (request) => fetch(new URL('/-/pieces', request.url)),
    proof: 'stream',
    text: 'abc',
  },
  'what a fetch() has brought, of a known length': {
    answer: (request) => fetch(new URL('/-/whole', request.url)),
    proof: 'proven',
    text: 'abc',
  },
};

/** Unsigned answers for the `fetch()` of a handler. */
export const upstream: Readonly<Record<string, () => Response>> = {
  '/-/pieces': () => response(trickling(), { 'content-type': 'text/plain' }),
  '/-/whole': () => response('abc', { 'content-length': '3', 'content-type': 'text/plain' }),
};
