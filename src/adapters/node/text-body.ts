import { cryptoProvider } from '#crypto';
import { readContentDigest } from '../../core/digest';
import { equalBytes, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors';
import type { NodeRequest } from './request';

/**
 * The bytes of a body that `express.text()` has decoded. Decoding loses them for another charset than UTF-8, for a
 * byte order mark, and for bytes that are no UTF-8.
 *
 * @throws AmeshError `body_parser_ordering_error` where the text does not give the bytes back
 */
export async function textBytes(request: NodeRequest, text: string): Promise<Uint8Array> {
  const bytes = toUtf8(text);
  const length = request.headers['content-length'];
  if (length !== undefined && Number(length) !== bytes.length) throw lost();
  // A parser of JSON can leave a text too, another one than was sent, and without a length nothing would tell.
  if (length === undefined && /\bjson\b/i.test(request.headers['content-type'] ?? '')) throw lost();
  // With the length right, or not known, it is the digest that tells a lossy decoding from a changed body.
  if (mayBeLossy(request, text) && !(await matches(request, bytes))) throw lost();
  if (length === undefined && (await matches(request, toUtf8(`\ufeff${text}`)))) throw lost();
  return bytes;
}

function mayBeLossy(request: NodeRequest, text: string): boolean {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1];
  return text.includes('\ufffd') || (charset !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(charset));
}

async function matches(request: NodeRequest, bytes: Uint8Array): Promise<boolean> {
  const header = request.headers['content-digest'];
  const expected = typeof header === 'string' ? readContentDigest(header) : null;
  return expected !== null && equalBytes(await cryptoProvider.sha256(bytes), expected);
}

function lost(): AmeshError {
  return new AmeshError(
    'body_parser_ordering_error',
    'A parser before amesh.verify() has made a text of the body that does not give its bytes back.',
    { fix: 'Put amesh.verify() before it, or use express.raw().' },
  );
}
