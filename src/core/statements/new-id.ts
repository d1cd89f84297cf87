import type { CryptoProvider } from '../crypto/provider';
import { toBase64Url } from '../encoding';

/**
 * A new ID for something that people revoke: 22 base64url characters. It never begins with a hyphen: people type it in commands,
 * where it would be read as a flag.
 */
export function newStatementId({ randomBytes }: Pick<CryptoProvider, 'randomBytes'>): string {
  for (;;) {
    const id = toBase64Url(randomBytes(16));
    if (!id.startsWith('-')) return id;
  }
}
