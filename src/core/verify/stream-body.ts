import type { CryptoProvider } from '../crypto/provider';
import { AmeshError } from '../errors/amesh-error';
import { BODY_CODES, SERVER_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { type BodyGate, DigestGate } from '../wire/body-gate';
import { readContentDigest } from '../wire/digest';
import { fieldValue, type RequestView } from '../wire/view';
import { stateOf } from './state';

/** Where the body goes: a new stream to read, or null for the transport's own. */
export type BodyStream = ReadableStream<Uint8Array> | null;

interface Streaming {
  readonly maxBodyBytes: number;
  readonly crypto: CryptoProvider;
  /** Whether the device may still call. */
  readonly recheck: () => Promise<Fault | null>;
  /** Told of what goes wrong when the request has been accepted already. */
  readonly report: (fault: Fault) => void;
}

/**
 * Check 9 for a body that is handed over while it arrives.
 *
 * @returns undefined where it has to be read first: it cannot be gated, nothing here hashes piece by piece, or it has no digest
 *   and so may have no byte
 * @throws AmeshError where it has come already and is wrong
 */
export async function streamBody(
  view: RequestView,
  { maxBodyBytes, crypto, recheck, report }: Streaming,
): Promise<BodyStream | Fault | undefined> {
  const isTooLarge = Number(fieldValue(view.headers, 'content-length') ?? 0) > maxBodyBytes;
  const tooLarge = () =>
    new Fault(BODY_CODES.payload_too_large, `The body is larger than ${maxBodyBytes} bytes.`);
  const state = stateOf(view); // a body goes through one gate, however many verifiers its request has
  const known = state.gated;
  if (known !== undefined) {
    if (known.stream !== null)
      throw new AmeshError(
        SERVER_CODES.body_parser_ordering_error,
        'The body of this request was handed over already.',
      );
    return !isTooLarge && known.gate.narrow(maxBodyBytes) ? null : tooLarge();
  }
  const declared = fieldValue(view.headers, 'content-digest');
  const hash = crypto.createSha256();
  if (view.gateBody === undefined || declared === undefined || hash === null) return undefined;
  const digest = readContentDigest(declared);
  if (digest === null)
    return new Fault(BODY_CODES.content_digest_mismatch, 'Content-Digest names no SHA-256 digest.');
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
