import { BODY_HEADER, DIGEST_HEADER, hasDigest, KEY_HEADER } from '../../../core/answers/answer';
import { SUCCESSION_HEADER } from '../../../core/answers/succession';
import { fieldValue } from '../../../core/wire/view';
import type { HeadChanges, HeldHead } from './held-head';

/** Whether one of the lines has characters beyond ASCII, which Node sends as Latin-1 or as UTF-8. */
export function hasLatin1(lines: readonly string[]): boolean {
  return lines.some((line) => /[^\0-\x7f]/.test(line));
}

/** Removes the proof of another answer, such as one that a gateway passes on, and digests that callers cannot check. */
export function removedFrom(headers: HeldHead['headers']): HeadChanges | undefined {
  const names = [BODY_HEADER, KEY_HEADER, SUCCESSION_HEADER].filter((name) => headers[name] !== undefined);
  if (headers[DIGEST_HEADER] !== undefined && !hasDigest(headers)) names.push(DIGEST_HEADER);
  for (const name of ['signature-input', 'signature']) {
    if (/(?:^|,)[ \t]*amesh=/.test(fieldValue(headers, name) ?? '')) names.push(name);
  }
  return names.length === 0 ? undefined : Object.fromEntries(names.map((name) => [name, undefined]));
}
