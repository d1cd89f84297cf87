import { toLine } from '../../src/trust/format/entry';
import { type ListHead, sealHead } from '../../src/trust/format/head';
import { signerOf } from '../support/core';
import { emptyHead, type ListDocument } from '../support/list-document';
import { requireRuntime } from '../support/runtime-server';
import { vectors } from '../support/vectors';

const { controller, target } = vectors.devices;

export const runtime = await requireRuntime('workerd');

export const DEVICES: ListDocument['devices'] = [
  {
    deviceId: controller.deviceId,
    publicKey: controller.publicKey,
    friendlyName: 'controller',
    roles: ['controller'],
    hosts: [],
    addedAt: 1_764_000_000,
  },
];

/** A list of the vectors' target that trusts the vectors' controller, with changes, sealed by the target or another. */
export async function sealedList(
  { devices = DEVICES, ...changes }: Partial<Pick<ListDocument, 'devices'> & ListHead> = {},
  by: keyof typeof vectors.devices = 'target',
): Promise<string> {
  const content = devices.map(({ hosts: _, ...device }) => JSON.parse(toLine(device)));
  const head = emptyHead({
    owner: vectors.devices[by].publicKey,
    list: target.deviceId,
    revision: 1,
    updatedAt: 1_764_000_000,
    pages: [{ prefix: '', content }],
    ...changes,
  });
  return new TextDecoder().decode(await sealHead(head, await signerOf(by)));
}
