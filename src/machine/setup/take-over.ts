import { AllowListIntegrityError, AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import type { Env } from '../../process/home';
import { revokeDevice } from '../../trust/changes';
import type { Device } from '../../trust/device';
import { TRUST_CODES } from '../../trust/errors/codes';
import type { ListDraft } from '../../trust/format/draft';
import type { ListHead } from '../../trust/format/head';
import type { PagedList } from '../../trust/format/paged-list';
import { moveOwner } from '../../trust/moves/move-owner';
import { readListTrust } from '../../trust/owner-key';
import { cancelPendingTokens } from '../../trust/tokens';
import { assertFrom, completed } from './hand-over';
import { openExport, resetTrust } from './reset';
import type { Aside } from './setup';

/** A list that can be taken over. */
export interface TakeOver {
  /** The list as it is now. */
  readonly list: PagedList;
  /** Whether this device seals it already. */
  readonly isDone: boolean;
}

/** Where the list to take over is. */
export interface TakeOverOptions {
  /** The list, as `amesh list --export` prints it; default: the list in the store or folder of this device. */
  readonly from?: Uint8Array | undefined;
  /**
   * The line that `amesh trust hand-over` printed on the machine of the present owner: with it, callers follow the target to this
   * key even if they ask for proofs. Default: none.
   */
  readonly handOver?: string | undefined;
}

/**
 * Reads the list that this device can take over: its key is the second one in AMESH_OWNER_KEY.
 *
 * @throws AmeshError `not_next_owner`; AllowListIntegrityError if the list is missing, or not what one of the two owners sealed
 */
export async function readTakeOver(
  device: Device,
  env: Env,
  { from }: TakeOverOptions = {},
): Promise<TakeOver> {
  const own = device.identity.publicKey;
  const trust = await readListTrust(env);
  const [, next] = trust?.owners ?? [];
  if (trust === undefined || next === undefined || Buffer.from(next).toString('base64url') !== own)
    throw new AmeshError(
      TRUST_CODES.not_next_owner,
      `The second key in AMESH_OWNER_KEY has to be the one of this machine, ${own}.`,
    );
  const list = from === undefined ? await readHere(device) : (await openExport(from, trust)).list;
  return { list, isDone: from === undefined && list.head.owner === own };
}

async function readHere({ trust }: Device): Promise<PagedList> {
  try {
    return await trust.read();
  } catch (error) {
    if (!isAmeshError(error) || error.code !== 'allow_list_integrity_failure') throw error;
    throw new AllowListIntegrityError(error.detail, {
      fix: 'If the list is in a store, set AMESH_STORE_URL. If it is elsewhere, give a copy of it: what amesh list --export printed on the machine of its owner, or of any instance',
      command: ['amesh', 'trust', 'take-over', 'list.txt'],
    });
  }
}

/** What a list was before this device took it over. */
export interface TakenOver {
  /** Its head. */
  readonly former: ListHead;
}

/**
 * Seals the list with the key of this device, the next owner. Provision tokens that no machine has taken are cancelled, since their
 * machines would trust only the former key.
 *
 * @returns the new head, and the former one
 * @throws as {@link readTakeOver}; AmeshError `store_conflict`, `wrong_hand_over`
 */
export async function takeOverList(
  device: Device,
  env: Env,
  { from, handOver }: TakeOverOptions = {},
): Promise<ListHead & Aside & TakenOver> {
  let former: ListHead | undefined;
  const rotation = handOver === undefined ? undefined : await completed(handOver, device);
  const change = (draft: ListDraft, taken: ListHead = draft.before) => {
    former = taken;
    assertFrom(taken.owner, rotation);
    return settle(draft, taken, device.identity.deviceId, rotation?.text);
  };
  const made =
    from === undefined
      ? { ...(await device.trust.takeOver(change)), movedTo: null }
      : await resetTrust(device.store.dir, env, { keep: true, from, change, signer: device.signer });
  return { ...made, former: former ?? made };
}

async function settle(
  draft: ListDraft,
  former: ListHead,
  ownId: string,
  succession: string | undefined,
): Promise<void> {
  moveOwner(draft, former, succession);
  const nowSeconds = Math.floor(Date.now() / 1000);
  await revokeDevice(draft, ownId, nowSeconds); // an owner is not a device in its own list
  cancelPendingTokens(draft, nowSeconds);
}
