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

/** @throws UsageError for anything but http URLs without a password */
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

/** What targets have answered, line by line. */
export function toldNotes(told: readonly Told[]): string[] {
  return told.map(({ url, status, answer, isProven, problem }) => {
    if (answer === 'unavailable')
      return `! ${url} answers: unavailable. This instance cannot change its allow list. If none of its instances can, its administrator adds the next key: \`amesh trust add\` there, with what \`amesh trust export\` prints here. Then run this command again.`;
    if (answer !== null) return `✓ ${url} answers: ${answer}${isProven ? '' : ' (not proven)'}.`;
    const what = problem ?? `it says nothing about the next key (status ${status})`;
    return `! ${url}: ${printable(what)}`;
  });
}
