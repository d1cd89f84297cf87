import type { ProvisionClaims } from '../tokens/token';
import { UNASKED, writeRegistration } from './registration';
import type { Taker } from './take-provision';

/** Puts a registration of this machine into the mailbox of its token, at the relay in the token, if there is one. */
export async function registerAtRelay(claims: ProvisionClaims, open: Taker['open']): Promise<void> {
  if (claims.relay === undefined) return;
  const device = await open();
  if (device === null) return;
  const { hosts } = await device.trust.readHead();
  const machine = { signer: device.signer, name: device.identity.friendlyName, hosts };
  const { postRegistration } = await import('./mailbox');
  await postRegistration(claims.relay, claims.secret, await writeRegistration(claims, machine, UNASKED));
}
