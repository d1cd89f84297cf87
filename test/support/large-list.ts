import { randomBytes } from 'node:crypto';
import type { AllowListDocument } from '../../src/trust/list/document';

/** What a list has to know of a device. No real key is needed to be in it: only one who calls has to prove it. */
export const newDevice = (friendlyName: string) => ({
  deviceId: `am_${randomBytes(12).toString('base64url')}`,
  publicKey: Buffer.concat([Uint8Array.of(2), randomBytes(32)]).toString('base64url'),
  friendlyName,
  hosts: [],
});

/** A list with so many controllers instead of its own, whose names have what JSON escapes and what takes more bytes. */
export const withDevices = (list: AllowListDocument, count: number): AllowListDocument => ({
  ...list,
  devices: Array.from({ length: count }, (_, i) => ({
    ...newDevice(`device-${i} "quoted" \\ {brace} ü 🚀`),
    roles: ['controller'],
    addedAt: 0,
  })),
});
