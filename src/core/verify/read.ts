import { REQUEST_CODES } from '../errors/codes';
import { Fault, malformed } from '../errors/fault';
import { DECIDING_FIELDS } from '../wire/base';
import type { Credentials } from '../wire/credentials';
import { readSignatureFields } from '../wire/fields';
import { readAuthMeshHeader } from '../wire/header';
import { type HeaderLines, headerLines, isRepeated } from '../wire/view';

// Headers that may have only one line: of two lines, one part of a server could read the first and another part the second.
const SINGLE = ['authorization', ...DECIDING_FIELDS];

/** Finds the signature of a request: checks 1 and 2 of docs/protocol.md. */
export function readCredentials(headers: HeaderLines): Credentials | Fault {
  const authorization = headerLines(headers, 'authorization');
  const inputs = headerLines(headers, 'signature-input');
  const signatures = headerLines(headers, 'signature');
  const header = authorization.find((line) => /^authmesh(?: |$)/i.test(line.trim()));

  if (header === undefined && inputs.length === 0 && signatures.length === 0)
    return new Fault(REQUEST_CODES.missing_header);
  for (const name of SINGLE) {
    if (isRepeated(headers, name)) return malformed(`There are several ${name} headers.`);
  }
  const fields =
    inputs.length === 0 && signatures.length === 0 ? null : readSignatureFields(inputs, signatures);
  if (header === undefined)
    return fields ?? new Fault(REQUEST_CODES.missing_header, 'No signature is tagged amesh.');
  if (fields !== null) {
    return fields instanceof Fault ? fields : malformed('The request is signed in both forms.');
  }
  return readAuthMeshHeader(header.trim());
}
