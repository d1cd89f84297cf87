import { UsageError } from '../errors/errors';

/** Writes six digits in two groups of three, which are easy to read out. */
export function inGroups(code: string): string {
  return `${code.slice(0, 3)} ${code.slice(3)}`;
}

/**
 * @param text the code as typed, with or without a gap
 * @throws UsageError
 */
export function toPairingCode(text: string): string {
  const code = text.replace(/[\s-]/g, '');
  if (/^[1-9][0-9]{5}$/.test(code)) return code;
  throw new UsageError(whatIsWrong(code), {
    hint: /^amesh-p256/.test(text.trim())
      ? 'Pass a line of amesh trust export to: amesh trust add'
      : 'Check it again: amesh listen shows it on the other machine.',
  });
}

function whatIsWrong(code: string): string {
  if (/^0[0-9]{5}$/.test(code)) return 'A pairing code does not begin with 0.';
  if (/^[0-9]+$/.test(code)) return `A pairing code has 6 digits, but this has ${code.length}.`;
  if (/^[0-9oil]{6}$/i.test(code))
    return 'A pairing code has 6 digits, but this has letters that look like digits: O for 0, l for 1.';
  return 'A pairing code has 6 digits, with at most a gap or a hyphen.';
}

/** The command for a pairing code; null for other words. */
export function inviteFor(words: readonly string[]): string | null {
  const code = words.join('').replace(/-/g, '');
  return /^[1-9][0-9]{5}$/.test(code) ? `amesh invite ${code}` : null;
}
