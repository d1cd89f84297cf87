// Run by each runtime with the built SDK: calls the server at argv[2] as the device of AUTH_MESH_DIR, and prints what
// came of it. Every request names its case in the header X-Case. With argv[3] only the case of that name runs.
import { amesh } from '@authmesh/sdk';

const [, , origin, only] = process.argv;
const text = (value) => new TextEncoder().encode(value);

const bodies = {
  'no body': () => undefined,
  'an empty string': () => '',
  'a string': () => '{"grüße":"€ 𝄞"}',
  'a string with a lone surrogate': () => 'a\ud800b',
  URLSearchParams: () => new URLSearchParams({ a: '1 & 2', ä: '€' }),
  'empty URLSearchParams': () => new URLSearchParams(),
  FormData: () => form(),
  'empty FormData': () => new FormData(),
  'a Blob with a type': () => new Blob(['blob'], { type: 'Image/PNG; x=Y' }),
  'a Blob without a type': () => new Blob(['blob']),
  'an empty Blob': () => new Blob([]),
  'a File': () => new File(['file'], 'a.bin', { type: 'application/x-own' }),
  'an ArrayBuffer': () => Uint8Array.of(0, 255, 13, 10).buffer,
  'an empty ArrayBuffer': () => new ArrayBuffer(0),
  'a part of a Uint8Array': () => Uint8Array.of(9, 1, 2, 3, 9).subarray(1, 4),
  'a Uint16Array': () => new Uint16Array(Uint16Array.of(1, 2, 3, 4).buffer, 2, 2),
  'a DataView': () => new DataView(Uint8Array.of(1, 2, 3, 4).buffer, 1, 2),
  'a ReadableStream': () => new Blob(['one', 'two']).stream(),
  'a ReadableStream without bytes': () => new ReadableStream({ start: (controller) => controller.close() }),
  'an async iterable': async function* () {
    yield text('three');
    yield text('four');
  },
};

// The body of a Request is a stream by the time that it gets here, so its content-type is the runtime's own: Bun has
// none for a string.
const { 'a string': _a, 'an empty string': _b, 'a string with a lone surrogate': _c, ...typed } = bodies;
const { 'an async iterable': _d, FormData: _e, 'empty FormData': _f, ...inRequest } = typed;

const results = {};
async function run(name, call) {
  if (only !== undefined && name !== only) return;
  try {
    const value = await call({ 'X-Case': encodeURIComponent(name) });
    results[name] = value instanceof Response ? { status: value.status, text: await value.text() } : value;
  } catch (error) {
    results[name] = { error: error.code ?? error.name, message: error.message };
  }
}

for (const [name, body] of Object.entries(bodies)) {
  await run(name, (headers) => amesh.fetch(`${origin}/bodies`, { method: 'POST', body: body(), headers }));
}
for (const [name, body] of Object.entries(inRequest)) {
  await run(`in a Request: ${name}`, (headers) =>
    amesh.fetch(new Request(`${origin}/bodies`, { method: 'PUT', body: body(), headers, duplex: 'half' })),
  );
}
const digest = 'sha-256=:i1udsME9skJWyCmqNkqpDG0uujGLkjKkq5MTuVTTVV8=:';
const streams = {
  'a ReadableStream': () =>
    new ReadableStream({
      pull(controller) {
        controller.enqueue(text('three'));
        controller.close();
      },
    }),
  'one of the platform': () => new Blob(['three']).stream(),
};
for (const [name, stream] of Object.entries(streams)) {
  const init = (headers) => ({
    method: 'POST',
    duplex: 'half',
    headers: { ...headers, 'content-digest': digest },
    body: stream(),
  });
  await run(`with a digest of its own: ${name}`, (headers) => amesh.fetch(`${origin}/bodies`, init(headers)));
  await run(`with a digest of its own: ${name} in a Request`, (headers) =>
    amesh.fetch(new Request(`${origin}/bodies`, init(headers))),
  );
}
const url = `${origin}/a%2Fb//c/../d/ä?x=1&&y=%20|^{}'"<>&b#fragment`;
for (const method of ['get', 'HEAD', 'Post', 'delete', 'PATCH', 'OPTIONS']) {
  await run(`method ${method}`, (headers) => amesh.fetch(url, { method, headers }));
}
await run('a Request alone', (headers) => amesh.fetch(new Request(url, { headers })));
await run('a Host header', (headers) => amesh.fetch(origin, { headers: { ...headers, Host: 'x.example' } }));
await run('a bearer token', (headers) =>
  amesh.fetch(origin, { headers: { ...headers, Authorization: 'Bearer x' } }),
);
await run('a redirect in the origin', async (headers) => {
  const { status, redirected, url } = await amesh.fetch(`${origin}/redirect?to=/next`, { headers });
  return { status, redirected, target: url.slice(origin.length) };
});
await run('a redirect of a POST', (headers) =>
  amesh.fetch(`${origin}/redirect?to=/next`, { method: 'POST', body: 'x', headers }),
);
await run('redirect: manual', async (headers) => {
  const response = await amesh.fetch(`${origin}/redirect?to=/next`, { headers, redirect: 'manual' });
  return { status: response.status, location: response.headers.get('location') };
});
// No case of its own: Node sends again by itself what got a 421, as the Fetch standard allows.
await run('a refusal', () => amesh.fetch(`${origin}/refused?secret`));
await run('a clock that is 60 s ahead', (headers) => amesh.fetch(`${origin}/clock`, { headers }));
await run('a clock that is right again, and a Request', (headers) =>
  amesh.fetch(new Request(`${origin}/right`, { method: 'PUT', body: Uint8Array.of(1), headers })),
);
await run('a stream beyond the limit', (headers) =>
  amesh.fetch(origin, { method: 'POST', body: new Blob([new Uint8Array(10_485_761)]).stream(), headers }),
);
await run('a stream that is aborted', (headers) => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  const { signal } = controller;
  return amesh.fetch(origin, { method: 'POST', body: new ReadableStream(), headers, signal });
});
await run('a Request that was read', async (headers) => {
  const request = new Request(origin, { method: 'POST', body: Uint8Array.of(1), headers });
  await request.arrayBuffer();
  return amesh.fetch(request);
});
await run('a URL with a password', (headers) => {
  return amesh.fetch(origin.replace('//', '//user:secret@'), { headers });
});

console.log(JSON.stringify(results));

function form() {
  const data = new FormData();
  data.append('name', 'vål\nue');
  data.append('a "quoted"\r\nname', '1');
  data.append('another\nname\r', '\n\r\r\n');
  data.append('file', new File([Uint8Array.of(0, 1, 255)], 'f "1"\n.bin', { type: 'application/x-own' }));
  data.append('blob', new Blob(['untyped']));
  return data;
}
