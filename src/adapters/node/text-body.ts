import { verifyingCrypto } from '#crypto';
import { equalBytes, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { readContentDigest } from '../../core/wire/digest';

const LOST =
  'A parser before amesh.verify() decoded the body to text, from which the bytes cannot be restored.';

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * The bytes of a body that `express.text()` decoded. Decoding loses them for a charset other than UTF-8, for a byte order
 * mark, and for invalid UTF-8.
 *
 * @param fix the fix in the error
 * @throws AmeshError `body_parser_ordering_error` if the bytes cannot be restored
 */
export async function textBytes(headers: Headers, text: string, fix: string): Promise<Uint8Array> {
  const lost = () => new AmeshError(SERVER_CODES.body_parser_ordering_error, LOST, { fix });
  const bytes = toUtf8(text);
  const length = headers['content-length'];
  if (length !== undefined && Number(length) !== bytes.length) throw lost();
  // A JSON parser turns "a" into a. So without a length, an attacker in between could put quotation marks around a body, and the
  // result would pass as the signed one.
  if (length === undefined && /\bjson\b/i.test(contentType(headers))) throw lost();
  // If the length is right or unknown, the digest distinguishes a lossy decoding from a changed body.
  if (mayBeLossy(headers, text) && !(await matchesDigest(headers, bytes))) throw lost();
  if (length === undefined && (await matchesDigest(headers, toUtf8(`\ufeff${text}`)))) throw lost();
  return bytes;
}

function contentType(headers: Headers): string {
  return String(headers['content-type'] ?? '');
}

function mayBeLossy(headers: Headers, text: string): boolean {
  const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType(headers))?.[1];
  return text.includes('\ufffd') || (charset !== undefined && !/^(?:utf-?8|us-ascii)$/i.test(charset));
}

/** Whether the bytes match the signed digest. */
export async function matchesDigest(headers: Headers, bytes: Uint8Array): Promise<boolean> {
  const header = headers['content-digest'];
  const expected = typeof header === 'string' ? readContentDigest(header) : null;
  return expected !== null && equalBytes(await verifyingCrypto.sha256(bytes), expected);
}
