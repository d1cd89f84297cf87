import { addDevice, type DeviceIdentity, openDevice } from '@authmesh/sdk/admin';
import { type Machine, objectOf, type Ran, type RunOptions } from './amesh';

export interface Finding {
  readonly check: string;
  readonly state: string;
  readonly message: string;
  readonly fix: string | null;
}

/** What it says for programs; checks that appear twice as the last one. */
export interface Examined extends Ran {
  readonly all: readonly Finding[];
  readonly of: Readonly<Record<string, Finding>>;
  readonly json: Readonly<Record<string, unknown>>;
}

/** `amesh doctor --json`, in an environment without stores. */
export async function examineWith(
  machine: Machine,
  env: RunOptions['env'],
  ...args: string[]
): Promise<Examined> {
  const ran = await machine.amesh(['doctor', '--json', ...args], env === undefined ? {} : { env });
  const json = objectOf(ran);
  const all = json.checks as Finding[];
  return { ...ran, json, all, of: Object.fromEntries(all.map((finding) => [finding.check, finding])) };
}

/** Puts a device into the list of a machine, as pairing does. */
export async function trust(
  machine: Machine,
  { deviceId, publicKey, friendlyName }: DeviceIdentity,
  role: 'controller' | 'target',
  hosts: string[] = [],
) {
  const { trust } = await openDevice(machine.dir, {});
  await trust.update((list) => addDevice(list, { deviceId, publicKey, friendlyName, role, hosts }, 0));
}
