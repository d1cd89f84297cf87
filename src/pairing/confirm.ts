import type { AllowListSource } from '../core/devices/allow-list';
import { confirmDevice } from '../trust/changes';
import type { Device } from '../trust/device';

/**
 * Confirms a target whose last message of the pairing was lost. It accepted a request, and it accepts requests only from
 * devices that it trusts.
 */
export async function confirmTarget(
  response: Response,
  list: AllowListSource,
  device: () => Promise<Device>,
): Promise<void> {
  // An error may come from before the verifier. After a redirect the request may not have been signed. A response without
  // a URL was constructed locally, so no server sent it.
  if (!response.ok || response.redirected || response.url === '') return;
  try {
    const target = (await list.current()).targetOf(new URL(response.url).host);
    if (target?.unconfirmed === undefined) return;
    const { trust } = await device();
    await trust.update((document) => confirmDevice(document, target.deviceId));
  } catch {
    // The folder may be read-only, for example: the caller gets its response, and the next response tries again.
  }
}
