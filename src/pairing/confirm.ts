import type { AllowListSource } from '../core/devices/allow-list';
import { confirmDevice } from '../trust/changes';
import type { Device } from '../trust/device';

/**
 * Takes note that a target trusts this device, where the last message of their pairing had been lost: it has answered
 * a request that only a device it trusts gets past.
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
