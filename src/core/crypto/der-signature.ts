import { equalBytes } from '../encoding';
import { fromDer, toDer } from './der';

/**
 * Converts a P-256 signature in ASN.1 DER, as AWS KMS and Google Cloud KMS return it, to the form of a {@link Signer}.
 *
 * @param der 8 to 72 bytes: an ECDSA-Sig-Value (RFC 3279 section 2.2.3), in the one form that DER has for it
 * @returns 64 bytes, r‖s, each 32 bytes big-endian
 * @throws TypeError for anything else
 */
export function fromDerSignature(der: Uint8Array): Uint8Array {
  if (der instanceof Uint8Array && der.length >= 8 && der.length <= 72) {
    const bytes = new Uint8Array(der); // the methods of a Buffer differ
    const [rLength = 0, sLength = 0] = [bytes[3], bytes[5 + (bytes[3] as number)]];
    // The parts must fill the whole exactly: only the shortest encoding is DER.
    if (
      rLength >= 1 &&
      rLength <= 33 &&
      sLength >= 1 &&
      sLength <= 33 &&
      6 + rLength + sLength === bytes.length
    ) {
      const signature = fromDer(bytes);
      if (equalBytes(toDer(signature), bytes)) return signature;
    }
  }
  throw new TypeError('This is not a P-256 signature in DER.');
}
