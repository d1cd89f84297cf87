import { randomBytes } from 'node:crypto';
import type { AllowListDocument } from '../../src/trust/list/document';

/** What a list has to know of a device. No real key is needed to be in it: only one who calls has to prove it. */
export const newDevice = (friendlyName: string) => toDevice(friendlyName, randomBytes(44));

const toDevice = (friendlyName: string, random: Buffer) => ({
  deviceId: `am_${random.subarray(0, 12).toString('base64url')}`,
  publicKey: Buffer.concat([Uint8Array.of(2), random.subarray(12)]).toString('base64url'),
  friendlyName,
  hosts: [],
});

/** A list with so many controllers instead of its own, whose names have what JSON escapes and what takes more bytes. */
export const withDevices = (list: AllowListDocument, count: number): AllowListDocument => {
  const random = randomBytes(44 * count);
  return {
    ...list,
    devices: Array.from({ length: count }, (_, i) => ({
      ...toDevice(`device-${i} "quoted" \\ {brace} ü 🚀`, random.subarray(44 * i, 44 * (i + 1))),
      roles: ['controller'],
      addedAt: 0,
    })),
  };
};
