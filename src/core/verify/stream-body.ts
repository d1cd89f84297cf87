import type { VerifyingCrypto } from '../crypto/provider';
import { AmeshError } from '../errors/amesh-error';
import { BODY_CODES, SERVER_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { type BodyGate, DigestGate } from '../wire/body-gate';
import { readContentDigest } from '../wire/digest';
import { fieldValue, type RequestView } from '../wire/view';
import { stateOf } from './state';

/** The stream that handlers read, or null for the transport's own. */
export type BodyStream = ReadableStream<Uint8Array> | null;

interface Streaming {
  readonly maxBodyBytes: number;
  readonly crypto: VerifyingCrypto;
  /** Checks whether the device may still call, and still has the scopes. */
  readonly recheck: () => Promise<Fault | null>;
  /** Reports a fault after the request was accepted. */
  readonly report: (fault: Fault) => void;
}

/**
 * Check 10 for a body that handlers read while it arrives.
 *
 * @returns undefined if the body must be buffered: it cannot be gated, the provider cannot hash it in pieces, or it has no
 *   digest and must be empty
 * @throws AmeshError if the body has already arrived and is wrong
 */
export async function streamBody(
  view: RequestView,
  { maxBodyBytes, crypto, recheck, report }: Streaming,
): Promise<BodyStream | Fault | undefined> {
  const isTooLarge = Number(fieldValue(view.headers, 'content-length') ?? 0) > maxBodyBytes;
  const tooLarge = () =>
    new Fault(BODY_CODES.payload_too_large, `The body is larger than ${maxBodyBytes} bytes.`);
  const state = stateOf(view); // a body has one gate, however many verifiers check its request
  const known = state.gated;
  if (known !== undefined) {
    if (known.stream !== null)
      throw new AmeshError(
        SERVER_CODES.body_parser_ordering_error,
        'The body of this request was already handed over.',
      );
    return !isTooLarge && known.gate.join(maxBodyBytes, recheck) ? null : tooLarge();
  }
  const declared = fieldValue(view.headers, 'content-digest');
  const hash = crypto.createSha256();
  if (view.gateBody === undefined || declared === undefined || hash === null) return undefined;
  const digest = readContentDigest(declared);
  if (digest === null)
    return new Fault(BODY_CODES.content_digest_mismatch, 'Content-Digest has no SHA-256 digest.');
  if (isTooLarge) return tooLarge();

  let isHandedOver = false;
  const gate = new DigestGate({
    digest,
    hash,
    limitBytes: maxBodyBytes,
    recheck,
    onFail: (fault) => isHandedOver && report(fault),
  });
  const stream = await view.gateBody(gate satisfies BodyGate);
  isHandedOver = true;
  state.gated = { gate, stream };
  return stream;
}
