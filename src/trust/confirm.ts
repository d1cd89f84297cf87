import type { AllowListSource } from '../core/allow-list';
import { refusalOf } from '../core/client/refusal';
import { confirmDevice } from './changes';
import type { Device } from './device';

/**
 * Takes note that a target trusts this device, where the last message of their pairing had been lost: it has answered
 * a request that only a device it trusts gets past.
 */
export async function confirmTarget(
  response: Response,
  list: AllowListSource,
  device: () => Promise<Device>,
): Promise<void> {
  if (response.url === '') return; // made by hand, so nobody answered
  const isRefusal = response.status >= 500 || response.status === 421 || refusalOf(response) !== null;
  if (isRefusal) return;
  try {
    const target = (await list.current()).targetOf(new URL(response.url).host);
    if (target?.unconfirmed === undefined) return;
    const { trust } = await device();
    await trust.update((document) => confirmDevice(document, target.deviceId));
  } catch {
    // A folder that cannot be written, say. The response is what was asked for, and the next one tries again.
  }
}
