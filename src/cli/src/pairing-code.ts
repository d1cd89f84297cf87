import { UsageError } from './errors';

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
  if (!/^[1-9][0-9]{5}$/.test(code)) {
    throw new UsageError('A pairing code is 6 digits.', {
      hint: 'It is what amesh listen shows on the other machine.',
    });
  }
  return code;
}
