import type { CryptoProvider } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { fromBase64Url } from '../encoding';

/** A target of a delegation, with the key that proves its answers. */
export interface DelegationTarget {
  /** `am_` and 16 base64url characters. */
  readonly deviceId: string;
  /** Its public key: a compressed P-256 point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** False if it cannot prove its answers. */
  readonly proves: boolean;
}

/** Marks the key of a target that cannot prove its answers. */
const UNPROVEN = '~';

/** The key of a target as the text of a delegation has it. */
export function toTargetKey(publicKey: string, proves = true): string {
  return proves ? publicKey : publicKey + UNPROVEN;
}

/**
 * Reads the keys of the targets, which nobody signed: each must be the key of the ID that the statement names.
 *
 * @param texts one for each ID, in the same order; or none, if the text has no keys
 * @returns null if they do not fit
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
    const proves = !text.endsWith(UNPROVEN);
    const publicKey = fromBase64Url(proves ? text : text.slice(0, -1));
    const deviceId = ids[i] as string;
    if (publicKey?.length !== 33 || ![2, 3].includes(publicKey[0] as number)) return null;
    if ((await deviceIdOf(publicKey, crypto)) !== deviceId) return null;
    targets.push({ deviceId, publicKey, proves });
  }
  return targets;
}
