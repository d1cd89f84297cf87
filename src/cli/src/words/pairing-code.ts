import { UsageError } from '../errors/errors';

/** Six digits in two groups of three, as they are easy to read out. */
export function inGroups(code: string): string {
  return `${code.slice(0, 3)} ${code.slice(3)}`;
}

/**
 * @param text as it was typed, with or without a gap
 * @throws UsageError
 */
export function toPairingCode(text: string): string {
  const code = text.replace(/[\s-]/g, '');
  if (/^[1-9][0-9]{5}$/.test(code)) return code;
  throw new UsageError(whatIsWrong(code), {
    hint: /^amesh-p256/.test(text.trim())
      ? 'A line of amesh trust export goes to: amesh trust add'
      : 'Read it again: it is what amesh listen shows on the other machine.',
  });
}

function whatIsWrong(code: string): string {
  if (/^0[0-9]{5}$/.test(code)) return 'A pairing code does not begin with 0.';
  if (/^[0-9]+$/.test(code)) return `A pairing code is 6 digits, and this has ${code.length}.`;
  if (/^[0-9oil]{6}$/i.test(code))
    return 'A pairing code is 6 digits, and this has letters that look like them: 0 and O, 1 and l.';
  return 'A pairing code is 6 digits, and nothing else but a gap or a hyphen.';
}

/** The command that a code belongs to; null for words that are none. */
export function inviteFor(words: readonly string[]): string | null {
  const code = words.join('').replace(/-/g, '');
  return /^[1-9][0-9]{5}$/.test(code) ? `amesh invite ${code}` : null;
}
