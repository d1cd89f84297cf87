import { DEFAULT_RELAY_URL, toRelayUrl } from '@authmesh/sdk/admin';
import { type FileStore, readVariable } from '@authmesh/sdk/admin/list';
import { UsageError } from '../errors/errors';
import { isZoned, ZONE } from '../machine/machine';
import { shellWord } from '../words/shell';
import { readSettings } from './settings';

/** The relay, and where it is set. */
export interface RelayChoice {
  readonly url: string;
  readonly from: '--relay' | 'AMESH_RELAY_URL' | 'config' | 'default';
}

/** @throws UsageError for a URL that is not a relay's */
export async function chooseRelay(flag: string | undefined, store: FileStore): Promise<RelayChoice> {
  if (flag !== undefined) return { url: readUrl(flag, '--relay'), from: '--relay' };
  const text = readVariable(process.env, 'AMESH_RELAY_URL', 'unset');
  if (text !== undefined) return { url: readUrl(text, 'AMESH_RELAY_URL'), from: 'AMESH_RELAY_URL' };
  const { relay } = await readSettings(store);
  return relay === undefined ? { url: DEFAULT_RELAY_URL, from: 'default' } : { url: relay, from: 'config' };
}

export function readUrl(text: string, where: string): string {
  try {
    return toRelayUrl(text);
  } catch (error) {
    const hint = isZoned(text) ? { hint: ZONE } : undefined;
    throw new UsageError(`${where}: ${(error as Error).message}`, hint);
  }
}

/** The flag that the other machine needs to use the same relay. */
export function relayFlag(url: string): string {
  return url === DEFAULT_RELAY_URL ? '' : ` --relay ${shellWord(url)}`;
}
