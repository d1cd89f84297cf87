import { toBase64 } from '../encoding';
import { isVisible } from '../wire/base';
import { fieldValue, type HeaderLines, headerLines } from '../wire/view';
import { ANSWER_TAG, type AnswerView } from './answer';

/** The parameters of an answer's signature. */
export interface AnswerParameters {
  /** By the clock of the target, Unix seconds. */
  readonly created: number;
  /** 43 characters, see `answerNonce()`. */
  readonly nonce: string;
  /** The device ID of the target. */
  readonly deviceId: string;
}

/** The value of "@signature-params" of an answer. */
export function answerParameters(
  covered: readonly string[],
  { created, nonce, deviceId }: AnswerParameters,
): string {
  const names = ['"@status"', ...covered.map(identifierOf)].join(' ');
  return `(${names});created=${created};nonce="${nonce}";keyid="${deviceId}";tag="${ANSWER_TAG}"`;
}

/**
 * The text that is signed.
 *
 * @param covered the covered fields, in order; `@status` comes before them
 * @returns null if a field is missing or is not plain ASCII
 * @see RFC 9421 section 2.5
 */
export function createAnswerBase(
  { status, headers }: AnswerView,
  covered: readonly string[],
  parameters: string,
): string | null {
  let base = `"@status": ${status}\n`;
  for (const name of covered) {
    const value = name === 'set-cookie' ? binary(headers, name) : fieldValue(headers, name);
    if (value === undefined || !isVisible(value)) return null;
    base += `${identifierOf(name)}: ${value}\n`;
  }
  return `${base}"@signature-params": ${parameters}`;
}

/** As bytes (`bs`): a cookie may contain a comma, so nobody could tell where one of several joined lines ends. */
function identifierOf(name: string): string {
  return name === 'set-cookie' ? '"set-cookie";bs' : `"${name}"`;
}

/** @see RFC 9421 section 2.1.3 */
function binary(headers: HeaderLines, name: string): string | undefined {
  const lines = headerLines(headers, name);
  if (lines.length === 0) return undefined;
  return lines.map((line) => `:${toBase64(toLatin1(line.trim()))}:`).join(', ');
}

/** Runtimes show each byte of a header as one character. */
function toLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
