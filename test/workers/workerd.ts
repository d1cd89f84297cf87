import type { AllowListDocument } from '../../src/trust/list/document';
import { sealDocument } from '../../src/trust/list/seal';
import { signerOf } from '../support/core';
import { requireRuntime } from '../support/runtime-server';
import { vectors } from '../support/vectors';

const { controller, target } = vectors.devices;

export const runtime = await requireRuntime('workerd');

/** A list of the vectors' target that trusts the vectors' controller, with changes, sealed by the target or another. */
export async function sealedList(
  changes: Partial<AllowListDocument> = {},
  by: keyof typeof vectors.devices = 'target',
): Promise<string> {
  const document: AllowListDocument = {
    version: 1,
    owner: vectors.devices[by].publicKey,
    list: target.deviceId,
    revision: 1,
    updatedAt: 1_764_000_000,
    hosts: [],
    devices: [
      {
        deviceId: controller.deviceId,
        publicKey: controller.publicKey,
        friendlyName: 'controller',
        roles: ['controller'],
        hosts: [],
        addedAt: 1_764_000_000,
      },
    ],
    tokens: [],
    grants: [],
    tombstones: [],
    ...changes,
  };
  return new TextDecoder().decode(await sealDocument(document, await signerOf(by)));
}
