import { cryptoProvider } from '#crypto';
import { equalBytes, toBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { completeHandOver, signHandOver } from '../../core/rotation/hand-over';
import { isInTime, type Rotation } from '../../core/rotation/rotation';
import type { Device } from '../../trust/device';
import { TRUST_CODES } from '../../trust/errors/codes';
import type { ListHead } from '../../trust/format/head';

/**
 * Makes a hand-over of the list of a device: its half of the statement by which callers follow the target to the next key.
 *
 * @param nextKey the key of the next owner: a compressed point, 33 bytes
 * @returns one line, which `amesh trust take-over --hand-over` accepts for 30 days; it is not secret
 * @throws AmeshError `own_key`, `list_moved`, `not_taken_over`; what reading the list and the signer throw
 */
export async function makeHandOver({ signer, trust }: Device, nextKey: Uint8Array): Promise<string> {
  if (equalBytes(nextKey, signer.publicKey)) throw new AmeshError(TRUST_CODES.own_key);
  await trust.preview(() => {}); // only the owner can hand the list over
  return signHandOver(signer, nextKey, Date.now(), cryptoProvider);
}

/**
 * Adds a hand-over to a list that this device has taken over without one.
 *
 * @returns the head of the list, and whether the list has changed
 * @throws AmeshError `wrong_hand_over`, `store_conflict`
 */
export async function addHandOver(
  device: Device,
  handOver: string,
): Promise<{
  /** The present head. */
  readonly head: ListHead;
  /** False if the list has a hand-over already. */
  readonly isChanged: boolean;
}> {
  const rotation = await completed(handOver, device);
  return device.trust.update((draft) => {
    const { list, ownerId = list, was = [], succession } = draft.before;
    const formerId = was.at(-1) ?? list;
    if (ownerId !== device.identity.deviceId || formerId !== rotation.formerId) throw wrongHandOver();
    if (succession === undefined) draft.change({ succession: rotation.text });
  });
}

/**
 * Completes a hand-over with the key of this device.
 *
 * @throws AmeshError `wrong_hand_over`
 */
export async function completed(handOver: string, { signer }: Device): Promise<Rotation> {
  const rotation = await completeHandOver(handOver, signer, cryptoProvider);
  if (rotation === null) throw wrongHandOver();
  if (!isInTime(rotation, Date.now())) throw wrongHandOver('This hand-over is older than 30 days.');
  return rotation;
}

/**
 * @param owner the public key of the present owner
 * @throws AmeshError `wrong_hand_over` if another device has made the hand-over
 */
export function assertFrom(owner: string, rotation: Rotation | undefined): void {
  if (rotation !== undefined && toBase64Url(rotation.formerKey) !== owner)
    throw wrongHandOver(`This hand-over is from ${rotation.formerId}, which does not seal the list.`);
}

function wrongHandOver(detail?: string): AmeshError {
  return new AmeshError(TRUST_CODES.wrong_hand_over, detail);
}
