import { SIGNATURE_CODES } from '../errors/codes';
import { Fault, malformed } from '../errors/fault';
import type { RequestLine } from './line';
import { fieldValue, type HeaderLines } from './view';

/** The implemented derived components of RFC 9421 section 2.2. All of them are required. */
export const DERIVED = ['@method', '@authority', '@path', '@query'] as const;

/** The fields that must be covered if the request has them, in the order of the fixed list. */
export const DECIDING_FIELDS = [
  'content-digest',
  'content-type',
  'content-encoding',
  'authmesh-target',
  'authmesh-key',
  'authmesh-rotation',
  'accept-signature',
] as const;

const VISIBLE = /^[\t\x20-\x7e]*$/;

/** Whether a value contains only visible ASCII, spaces and tabs. */
export function isVisible(value: string): boolean {
  return VISIBLE.test(value);
}

/** The components that a signature of this request must cover. */
export function requiredComponents(headers: HeaderLines, form: 'authmesh' | 'rfc9421'): string[] {
  const required: string[] = DERIVED.slice();
  for (const name of DECIDING_FIELDS) if (fieldValue(headers, name) !== undefined) required.push(name);
  // In the compact form this header contains the signature itself.
  if (form === 'rfc9421' && fieldValue(headers, 'authorization') !== undefined)
    required.push('authorization');
  return required;
}

/** The value of "@signature-params" as amesh writes it: `created;nonce;keyid;tag`, in this order. */
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
 * The signature base: the text that is signed.
 *
 * @returns the fault `invalid_signature` if a covered field is missing, `malformed_header` if one is not plain ASCII
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
        SIGNATURE_CODES.invalid_signature,
        `The signature covers "${name}", which is missing.`,
      );
    if (!isVisible(value)) return malformed(`The field "${name}" was changed here, or is not plain ASCII.`);
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
