// Run by each runtime with the built SDK: calls each server of argv as the device of AUTH_MESH_DIR, in every way that a
// body can have, and prints what each handler has seen.
import { amesh } from '@authmesh/sdk';

const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31) % 256);
const text = '{"grüße":"€ 𝄞"}';

const calls = {
  'a GET': {},
  'a HEAD': { method: 'HEAD' },
  'a DELETE': { method: 'DELETE' },
  'a text': { method: 'POST', body: text },
  'a binary PUT': { method: 'PUT', body: bytes },
  'a Blob': { method: 'POST', body: new Blob([bytes], { type: 'image/png' }) },
  'a stream': { method: 'POST', body: new Blob([bytes]).stream(), duplex: 'half' },
  'a form': { method: 'POST', body: new URLSearchParams({ a: '1 & 2', ä: '€' }) },
  'a bearer token beside it': { method: 'POST', body: text, headers: { authorization: 'Bearer x' } },
};

const results = {};
for (const origin of process.argv.slice(2)) {
  results[origin] = {};
  for (const [name, { body, ...init }] of Object.entries(calls)) {
    // A stream can be sent once.
    const once = body instanceof ReadableStream ? new Blob([bytes]).stream() : body;
    try {
      const response = await amesh.fetch(`${origin}/a%2Fb//c/it's^|{"}\`?x=1&&y=%20&n=O'Brien"<^|{}\`>`, {
        ...init,
        body: once,
      });
      const seen = init.method === 'HEAD' ? {} : await response.json();
      const { method, target, sha256, caller, error } = seen;
      results[origin][name] = {
        status: response.status,
        method,
        target,
        sha256,
        by: caller?.deviceId,
        error,
      };
    } catch (error) {
      results[origin][name] = { error: String(error) };
    }
  }
}
console.log(JSON.stringify(results));
