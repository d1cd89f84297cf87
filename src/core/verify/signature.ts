import { andThen } from '../and-then';
import type { MaybePromise, PublicKey } from '../crypto/provider';
import { toSlab } from '../encoding';
import { REQUEST_CODES, SIGNATURE_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { createSignatureBase, requiredComponents, signatureParameters } from '../wire/base';
import type { Credentials } from '../wire/credentials';
import type { RequestLine } from '../wire/line';
import type { HeaderLines } from '../wire/view';

/** The end of check 2: the signature covers all required components. Returns the covered ones. */
export function readCovered(credentials: Credentials, headers: HeaderLines): readonly string[] | Fault {
  const required = requiredComponents(headers, credentials.form);
  const { covered } = credentials;
  if (covered === null) return required;
  const missing = required.find((name) => !covered.includes(name));
  if (missing === undefined) return covered;
  return new Fault(REQUEST_CODES.component_not_covered, `The signature does not cover "${missing}".`);
}

/** Check 7. */
export function checkSignature(
  key: PublicKey,
  base: string,
  signature: Uint8Array,
): MaybePromise<Fault | null> {
  return andThen(key.verify(signature, toSlab(base)), (isRight) =>
    isRight === true ? null : new Fault(SIGNATURE_CODES.invalid_signature),
  );
}

/** The text that a request's signature must have signed. */
export function signatureBase(
  line: RequestLine,
  headers: HeaderLines,
  credentials: Credentials,
  covered: readonly string[],
): string | Fault {
  const parameters = credentials.parameters ?? signatureParameters(covered, credentials);
  return createSignatureBase(line, headers, covered, parameters);
}
