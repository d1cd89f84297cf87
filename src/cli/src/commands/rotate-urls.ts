import type { Told } from '@authmesh/sdk/admin';
import type { ArgsDef } from 'citty';
import { UsageError } from '../errors/errors';
import { printable } from '../words/printable';

/** The URLs at which a command tells targets. */
export const URLS_ARG = {
  type: 'positional',
  required: false,
  valueHint: 'url...',
} as const satisfies ArgsDef[string];

/** @throws UsageError for anything except http and https URLs without a password */
export function toUrls(words: readonly unknown[]): URL[] {
  return words.map((word) => {
    const url = URL.canParse(String(word)) ? new URL(String(word)) : null;
    if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '')
      return url;
    throw new UsageError(
      `${printable(JSON.stringify(word))} is no URL such as https://api.example.com/api/orders.`,
    );
  });
}

/**
 * What targets have answered, line by line.
 *
 * @param what they were told; `withdraw`: the next key does not count, and only `withdrawn` says that a target has done that
 */
export function toldNotes(told: readonly Told[], what: 'rotate' | 'withdraw' = 'rotate'): string[] {
  return told.map(({ url, status, answer, isProven, problem }) => {
    const proof = isProven ? '' : ' (not proven)';
    if (what === 'withdraw' && answer === 'withdrawn')
      return `✓ ${url}: withdrawn${proof}. The next key does not count there.`;
    if (what === 'withdraw' && answer === 'refused')
      return `! ${url}: refused${proof}. It withdrew nothing: the log there says why. The next key may still count there.`;
    if (what === 'withdraw' && answer !== null)
      return `! ${url}: ${answer}${proof}. The next key may still count there.`;
    if (answer === 'refused') return `! ${url}: refused${proof}. The log there says why.`;
    if (answer === 'unavailable')
      return `! ${url}: unavailable. This instance cannot change its allow list. If none of its instances can, its administrator adds the next key: \`amesh trust add\` there, with the line that \`amesh trust export\` prints here. Then run this command again.`;
    if (answer !== null && answer !== 'withdrawn') return `✓ ${url}: ${answer}${proof}.`;
    const why = problem ?? `it says nothing about the next key (status ${status})`;
    return `! ${url}: ${printable(why)}`;
  });
}
