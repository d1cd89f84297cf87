import { andThen } from '../and-then';
import type { MaybePromise, VerifyingCrypto } from '../crypto/provider';
import { equalBytes } from '../encoding';
import { AmeshError, isAmeshError } from '../errors/amesh-error';
import { BODY_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { readContentDigest } from '../wire/digest';
import { fieldValue, type ReadBody, type RequestView } from '../wire/view';
import { stateOf } from './state';

const EMPTY = new Uint8Array();

/** The bytes of a body that is already in memory; undefined if it must be read. */
export function readyBody(view: RequestView): Uint8Array | undefined {
  const { body } = view;
  if (body === null || body === undefined) return EMPTY;
  return typeof body === 'function' ? stateOf(view).body : body;
}

/**
 * Reads a body.
 *
 * @returns null if the body is not empty, although it has no digest
 * @throws AmeshError `payload_too_large`, `body_incomplete`, and what the reader throws
 */
export async function readBody(view: RequestView, maxBodyBytes: number): Promise<Uint8Array | null> {
  // Without a digest, one byte is already too much: there is no need to read the rest.
  const hasDigest = fieldValue(view.headers, 'content-digest') !== undefined;
  try {
    const bytes = await (view.body as ReadBody)(hasDigest ? maxBodyBytes : Math.min(maxBodyBytes, 1));
    stateOf(view).body = bytes;
    return bytes;
  } catch (error) {
    if (!isAmeshError(error)) throw new AmeshError(BODY_CODES.body_incomplete, undefined, { cause: error });
    if (!hasDigest && error.code === 'payload_too_large') return null;
    throw error;
  }
}

/** Check 10, for the result of {@link readyBody} or {@link readBody}. */
export function checkBody(
  view: RequestView,
  body: Uint8Array | null,
  maxBodyBytes: number,
  crypto: VerifyingCrypto,
): MaybePromise<Uint8Array | Fault> {
  if (body === null) return new Fault(BODY_CODES.content_digest_missing);
  if (body.length > maxBodyBytes) {
    return new Fault(BODY_CODES.payload_too_large, `The body is larger than ${maxBodyBytes} bytes.`);
  }
  const declared = fieldValue(view.headers, 'content-digest');
  if (declared === undefined) return body.length === 0 ? body : new Fault(BODY_CODES.content_digest_missing);
  const expected = readContentDigest(declared);
  if (expected === null) {
    return new Fault(BODY_CODES.content_digest_mismatch, 'Content-Digest has no SHA-256 digest.');
  }
  return andThen(crypto.sha256(body), (digest) =>
    equalBytes(digest, expected) ? body : new Fault(BODY_CODES.content_digest_mismatch),
  );
}
