import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';

/** The entry with the lease and the times of a caller: the entry of its successor, if its key was replaced. */
export function currentDevice(device: TrustedDevice, list: AllowList): TrustedDevice {
  return (device.replacedBy && list.find(device.replacedBy)) || device;
}
