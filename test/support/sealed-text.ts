import type { Signer } from '@authmesh/sdk/core';
import { toLowS } from '../../src/core/crypto/low-s';
import { toBase64Url, toUtf8 } from '../../src/core/encoding';
import { LABELS } from '../../src/core/wire/labels';

const SEAL_BYTES = 98;

/** A head without its seal and the end of its line. */
export const unsealed = (head: string): string => head.slice(0, -SEAL_BYTES);

/** Seals any text as its owner could. */
export async function sealText(text: string, signer: Signer): Promise<string> {
  const signature = await signer.sign(toUtf8(LABELS.list + text));
  return `${text},"seal":"${toBase64Url(toLowS(signature))}"}\n`;
}
