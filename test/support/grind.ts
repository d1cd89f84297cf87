import { createHash, createHmac } from 'node:crypto';
import { lp } from '../../src/pairing/ceremony/length-prefix';
import type { Party } from './ceremony';
import type { Revealing } from './mallory';
import type { Changes } from './pairing-build';

/*
 * Two ceremonies that look much like amesh-pair/1, and what a relay does to each: it tries values that it may still
 * choose until the codes of its two ceremonies are the same. With six digits that takes a million tries, which is
 * seconds.
 */

/** Whatever M1 says, any M3 will do. */
export const NO_COMMITMENT: Changes = {
  'target.ts': [['!equalBytes(await commitment(eC, nC), com)', 'false']],
};

const KEYS = "import { commitment } from './key-schedule';";
const ALSO_NAMED = "import { codeOf, commitment } from './key-schedule';";

/** The code also depends on the identities of the two, which are sent after the keys are settled. */
export const IDENTITIES_IN_CODE: Changes = {
  'controller.ts': [
    [KEYS, ALSO_NAMED],
    [
      "return [{ name: 'showing',",
      "verificationCode = await codeOf(th, own, peer); return [{ name: 'showing',",
    ],
  ],
  'target.ts': [
    [KEYS, ALSO_NAMED],
    [
      "const body = await channel.seal('m5'",
      "verificationCode = await codeOf(th, peer, own); const body = await channel.seal('m5'",
    ],
  ],
  'key-schedule.ts': [
    [
      'export interface KeySchedule',
      `export async function codeOf(th, c, t) {
         const digits = await sha256(lp(LABEL, 'code', th, c.publicKey, c.name, t.publicKey, t.name));
         return (new DataView(digits.buffer).getBigUint64(0) % 1_000_000n).toString().padStart(6, '0');
       }
       export interface KeySchedule`,
    ],
  ],
};

/** A code of fewer digits, to see in little time how often a relay is lucky. */
export const withDigits = (digits: number): Changes => ({
  'key-schedule.ts': [
    ['1_000_000n', `${10 ** digits}n`],
    ["padStart(6, '0')", `padStart(${digits}, '0')`],
  ],
});

const PATIENCE = 20_000_000;

function toCode(bytes: Buffer): string {
  return (bytes.readBigUInt64BE(0) % 1_000_000n).toString().padStart(6, '0');
}

/** Tries nonces for M3 until the code of the ceremony with the target is the one that is wanted. */
export function grindNonce({ z, code, m1, m2, eC }: Revealing, wanted: string): Uint8Array {
  const before = `{"type":"m3","eC":"${Buffer.from(eC).toString('base64url')}","nC":"`;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(before.length + 43 + 2);
  const start = createHash('sha256')
    .update(lp('amesh-pair/1', 'transcript', code, m1, m2))
    .update(length)
    .update(before);
  for (let i = 0; i < PATIENCE; i++) {
    const nonce = String(i).padEnd(43, 'A');
    const th = start.copy().update(nonce).update('"}').digest();
    const secret = createHmac('sha256', th).update(z).digest();
    const output = createHmac('sha256', secret).update('amesh-pair/1 verification code\x01').digest();
    if (toCode(output) === wanted) return Buffer.from(nonce, 'base64url');
  }
  throw new Error('This takes too long.');
}

/** What the code would be where it depends on who the two are. */
export function codeWithIdentities(th: Uint8Array, controller: Party['own'], target: Party['own']): string {
  const named = [th, controller.publicKey, controller.name, target.publicKey, target.name];
  return toCode(
    createHash('sha256')
      .update(lp('amesh-pair/1', 'code', ...named))
      .digest(),
  );
}

/** Tries names for a false target until the code of the ceremony with the controller is the one that is wanted. */
export function grindName(
  th: Uint8Array,
  controller: Party['own'],
  own: Party['own'],
  wanted: string,
): string {
  const digits = 8;
  const { name, publicKey } = own;
  const any = `${name}-${'0'.repeat(digits)}`;
  const named = lp('amesh-pair/1', 'code', th, controller.publicKey, controller.name, publicKey, any);
  const start = createHash('sha256').update(named.subarray(0, -digits));
  for (let i = 0; i < PATIENCE; i++) {
    const suffix = String(i).padStart(digits, '0');
    if (toCode(start.copy().update(suffix).digest()) === wanted) return `${name}-${suffix}`;
  }
  throw new Error('This takes too long.');
}
