import type { Signer } from '../../core/crypto/provider';
import { toBase64Url } from '../../core/encoding';
import { momentText } from '../../core/moment';
import { withWorkingKey } from '../../core/statements/working-key';
import { warnOnce } from '../../process/log';

interface Shared {
  /** The device key as it was opened last: an earlier opening may have had another PIN. */
  device: Signer;
  readonly working: Signer;
}

const shared = new Map<string, Shared>();

/**
 * A signer whose requests are signed by the one working key that a device has in this process, however many instances
 * open it.
 */
export function withSharedWorkingKey(signer: Signer): Signer {
  const { publicKey } = signer;
  const name = toBase64Url(publicKey);
  const known = shared.get(name);
  const entry = known ?? create(signer);
  entry.device = signer;
  shared.set(name, entry);
  return {
    publicKey,
    sign: (message) => signer.sign(message),
    requestSigner: () => (entry.working.requestSigner as NonNullable<Signer['requestSigner']>)(),
  };
}

function create(signer: Signer): Shared {
  const device: Signer = { publicKey: signer.publicKey, sign: (message) => entry.device.sign(message) };
  const entry: Shared = { device: signer, working: withWorkingKey(device, { onRenewalFailure: tell }) };
  return entry;
}

function tell(error: unknown, untilMs: number): void {
  const why = error instanceof Error ? error.message : String(error);
  warnOnce(
    `The working key of this process could not be renewed: ${why} It still signs requests until ${momentText(untilMs)}; after that they fail.`,
  );
}
