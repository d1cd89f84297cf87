import type { AllowListSource } from '../../core/devices/allow-list';
import type { AnswerHeaders } from '../../core/verify/verdict';
import type { Device } from '../../trust/device';
import type { ProvisionClaims } from '../tokens/token';
import type { Acceptance } from './acceptance';
import { REGISTRATION_HEADER, writeRegistration } from './registration';

export interface RegistrarOptions {
  readonly bootstrap: { readonly taken: ProvisionClaims | undefined };
  readonly device: () => Promise<Device>;
  readonly list: AllowListSource;
}

/**
 * Tells the issuer of a token which machine took it, in the responses to the issuer's requests. It stops when these requests name
 * this device, since the issuer then knows it.
 */
export function createRegistrar({ bootstrap, device, list }: RegistrarOptions) {
  async function register(token: { jti: string; secret: string }, { nonce, authority }: Acceptance) {
    try {
      const { signer, identity } = await device();
      const { hosts } = await list.current();
      const machine = { signer, name: identity.friendlyName, hosts };
      return { [REGISTRATION_HEADER]: await writeRegistration(token, machine, { nonce, authority }) };
    } catch {
      return undefined; // the request stays verified
    }
  }

  return (acceptance: Acceptance): Promise<AnswerHeaders | undefined> | undefined => {
    const token = bootstrap.taken;
    if (token === undefined || acceptance.isNamed) return undefined;
    const { deviceId, formerIds = [] } = acceptance.device;
    if (deviceId !== token.iss && !formerIds.includes(token.iss)) return undefined;
    return register(token, acceptance);
  };
}
