import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../../../src/core/devices/allow-list';
import { toBase64Url } from '../../../src/core/encoding';
import { MAX_PAGES, openHead, sealHead } from '../../../src/trust/format/head';
import { emptyHead } from '../../support/list-document';

/** Opens a head with so many pages, and counts the turns of the event loop until it is open. */
async function turnsOf(pages: number): Promise<number> {
  const signer = await cryptoProvider.importPrivateKey(await cryptoProvider.generatePrivateKey());
  const list = await deviceIdOf(signer.publicKey, cryptoProvider);
  const bits = Math.log2(pages);
  const bytes = await sealHead(
    emptyHead({
      revision: 1,
      list,
      owner: toBase64Url(signer.publicKey),
      pages: Array.from({ length: pages }, (_, i) => ({
        prefix: bits === 0 ? '' : i.toString(2).padStart(bits, '0'),
        content: randomBytes(32).toString('base64url'),
      })),
    }),
    signer,
  );
  let [turns, isOpen] = [0, false];
  const count = () => {
    turns++;
    if (!isOpen) setImmediate(count);
  };
  setImmediate(count);
  const { head } = await openHead(bytes, [signer.publicKey], list);
  isOpen = true;
  expect(head.pages).toHaveLength(pages);
  return turns;
}

it('opens the head of a small list in one turn of the event loop', async () => {
  expect(await turnsOf(1)).toBe(0);
});

it('lets other work run while it opens the head of the largest list', async () => {
  expect(await turnsOf(MAX_PAGES)).toBeGreaterThanOrEqual(3);
});
