import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';

/** The entry of a caller that has its lease and its times: that of its successor if its key was replaced. */
export function currentDevice(device: TrustedDevice, list: AllowList): TrustedDevice {
  return (device.replacedBy && list.find(device.replacedBy)) || device;
}
