import { fromBase64 } from '../encoding';
import { onlyMatch } from '../only-match';
import { fieldValue, type HeaderLines } from '../wire/view';
import { answerParameters } from './base';

/** What the signature of an answer claims, until it is verified. */
export interface Claimed {
  /** The covered fields, in order, without `@status`. */
  readonly covered: readonly string[];
  /** Unix seconds. */
  readonly created: number;
  /** 43 characters, see `answerNonce()`. */
  readonly nonce: string;
  readonly deviceId: string;
  /** The value of "@signature-params". */
  readonly parameters: string;
  /** 64 bytes, r‖s. */
  readonly signature: Uint8Array;
}

// The text to verify is written from what this finds, so nothing needs to be parsed more strictly.
const INPUT =
  /(?:^|,)[ \t]*amesh=\("@status"((?: "[a-z0-9-]{1,64}"(?:;bs)?){0,48})\);created=(0|[1-9]\d{0,11});nonce="([\w-]{43})";keyid="(am_[\w-]{16})";tag="amesh-answer"[ \t]*(?=,|$)/g;
const SIGNATURE = /(?:^|,)[ \t]*amesh=:([A-Za-z0-9+/]{86}==):[ \t]*(?=,|$)/g;

/** @returns what the only signature of an answer with the label `amesh` claims, or why there is none, as the end of a sentence */
export function readMember(headers: HeaderLines): Claimed | string {
  const input = onlyMatch(INPUT, fieldValue(headers, 'signature-input') ?? '');
  const bytes = onlyMatch(SIGNATURE, fieldValue(headers, 'signature') ?? '');
  if (input === null || bytes === null) return 'it has no signature of amesh';
  const [, names = '', created, nonce = '', deviceId = ''] = input;
  const signature = fromBase64(bytes[1] as string);
  const covered: string[] = [];
  for (const identifier of names.split(' ').slice(1)) {
    const isBinary = identifier.endsWith(';bs');
    const name = identifier.slice(1, isBinary ? -4 : -1);
    if (isBinary !== (name === 'set-cookie') || covered.includes(name))
      return 'it has a signature of another kind';
    covered.push(name);
  }
  if (signature === null) return 'it has no signature of amesh';
  const claimed = { created: Number(created), nonce, deviceId };
  return { ...claimed, covered, parameters: answerParameters(covered, claimed), signature };
}
