import type { AllowListSource } from '../core/devices/allow-list';
import { confirmDevice } from '../trust/changes';
import type { Device } from '../trust/device';

/**
 * Confirms a target whose last message of the pairing was lost: it has accepted a request, which it does only for devices
 * that it trusts.
 */
export async function confirmTarget(
  response: Response,
  list: AllowListSource,
  device: () => Promise<Device>,
): Promise<void> {
  // Errors come from before the verifier, too. What follows a redirect may not have been signed; and a response without
  // a URL was made by hand, so nobody answered.
  if (!response.ok || response.redirected || response.url === '') return;
  try {
    const target = (await list.current()).targetOf(new URL(response.url).host);
    if (target?.unconfirmed === undefined) return;
    const { trust } = await device();
    await trust.update((document) => confirmDevice(document, target.deviceId));
  } catch {
    // A folder that cannot be written, say. The response is what was asked for, and the next one tries again.
  }
}
