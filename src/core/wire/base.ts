import { REQUEST_CODES } from '../errors/codes';
import { Fault, malformed } from '../errors/fault';
import type { RequestLine } from './line';
import { fieldValue, type HeaderLines } from './view';

/** The derived components of RFC 9421 section 2.2 that are implemented. All of them are always required. */
export const DERIVED = ['@method', '@authority', '@path', '@query'] as const;

/** The fields that have to be covered where the request has them, in the order of the fixed list. */
const FIELDS = ['content-digest', 'content-type', 'content-encoding', 'authmesh-target'] as const;

const VISIBLE = /^[\t\x20-\x7e]*$/;

/** The components that a request has to have covered: the fixed list, cut to what is there. */
export function requiredComponents(headers: HeaderLines, form: 'authmesh' | 'rfc9421'): string[] {
  const required: string[] = DERIVED.slice();
  for (const name of FIELDS) if (fieldValue(headers, name) !== undefined) required.push(name);
  // In the compact form this header carries the signature itself.
  if (form === 'rfc9421' && fieldValue(headers, 'authorization') !== undefined)
    required.push('authorization');
  return required;
}

/** The value of "@signature-params" as amesh itself writes it: `created;nonce;keyid;tag`, in this order. */
export function signatureParameters(
  covered: readonly string[],
  parameters: { created: number; expires?: number | undefined; nonce: string; deviceId: string },
): string {
  const { created, expires, nonce, deviceId } = parameters;
  const names = covered.length === 0 ? '' : `"${covered.join('" "')}"`;
  const end = expires === undefined ? '' : `;expires=${expires}`;
  return `(${names});created=${created}${end};nonce="${nonce}";keyid="${deviceId}";tag="amesh"`;
}

/**
 * The text that is signed.
 *
 * @returns `invalid_signature` where a covered field is not there, `malformed_header` where one is not plain ASCII
 * @see RFC 9421 section 2.5
 */
export function createSignatureBase(
  line: RequestLine,
  headers: HeaderLines,
  covered: readonly string[],
  parameters: string,
): string | Fault {
  let base = '';
  for (const name of covered) {
    const value = componentValue(line, headers, name);
    if (value === undefined)
      return new Fault(
        REQUEST_CODES.invalid_signature,
        `The signature covers "${name}", which is not there.`,
      );
    if (!VISIBLE.test(value))
      return malformed(`The field "${name}" was changed here, or is not plain ASCII.`);
    base += `"${name}": ${value}\n`;
  }
  return `${base}"@signature-params": ${parameters}`;
}

function componentValue(line: RequestLine, headers: HeaderLines, name: string): string | undefined {
  switch (name) {
    case '@method':
      return line.method;
    case '@authority':
      return line.authority;
    case '@path':
      return line.path;
    case '@query':
      return line.query;
    default:
      return fieldValue(headers, name);
  }
}
