import type { CryptoProvider } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { fromBase64Url, fromUtf8, toBase64Url, toUtf8 } from '../encoding';
import { normalizeAuthority } from '../wire/authority';

/** A target of a delegation, with the key that proves its answers. */
export interface DelegationTarget {
  /** `am_` and 16 base64url characters. */
  readonly deviceId: string;
  /** Its public key: a compressed P-256 point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** False if it cannot prove its answers. */
  readonly proves: boolean;
  /** The authorities at which it is called, `host[:port]` in normal form; empty if the text has none. */
  readonly hosts: readonly string[];
}

/** Marks the key of a target that cannot prove its answers. */
const UNPROVEN = '~';

/** Begins the authorities of a target: base64url of a list with commas. */
const HOSTS = '@';
const MAX_HOSTS = 16;

/** A target as the text of a delegation has it. */
export function toTargetKey(
  publicKey: string,
  {
    proves = true,
    hosts = [],
  }: { readonly proves?: boolean | undefined; readonly hosts?: readonly string[] | undefined },
): string {
  const named = hosts.slice(0, MAX_HOSTS).join(',');
  return `${publicKey}${proves ? '' : UNPROVEN}${named === '' ? '' : HOSTS + toBase64Url(toUtf8(named))}`;
}

/**
 * Reads the keys of the targets. Nobody has signed them, so each must match the ID that the statement names.
 *
 * @param texts one for each ID, in the same order; or none, if the text has no keys
 * @returns null if they do not match
 */
export async function readTargets(
  texts: readonly string[],
  ids: readonly string[],
  crypto: Pick<CryptoProvider, 'sha256'>,
): Promise<readonly DelegationTarget[] | null> {
  if (texts.length === 0) return [];
  if (texts.length !== ids.length) return null;
  const targets: DelegationTarget[] = [];
  for (const [i, text] of texts.entries()) {
    const [marked = '', named] = text.split(HOSTS);
    const proves = !marked.endsWith(UNPROVEN);
    const publicKey = fromBase64Url(proves ? marked : marked.slice(0, -1));
    const deviceId = ids[i] as string;
    const hosts = named === undefined ? [] : readHosts(named);
    if (publicKey?.length !== 33 || ![2, 3].includes(publicKey[0] as number) || hosts === null) return null;
    if ((await deviceIdOf(publicKey, crypto)) !== deviceId) return null;
    targets.push({ deviceId, publicKey, proves, hosts });
  }
  const all = targets.flatMap(({ hosts }) => hosts);
  return new Set(all).size === all.length ? targets : null; // otherwise nobody knows which target has that host
}

function readHosts(text: string): string[] | null {
  const bytes = fromBase64Url(text);
  const hosts = bytes === null ? [''] : toTexts(bytes);
  return hosts.length <= MAX_HOSTS && hosts.every((host) => normalizeAuthority(host) === host) ? hosts : null;
}

/** Bytes that are not UTF-8 become no authority. */
function toTexts(bytes: Uint8Array): string[] {
  try {
    return fromUtf8(bytes).split(',');
  } catch {
    return [''];
  }
}
