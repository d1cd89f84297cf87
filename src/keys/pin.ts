import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AmeshError } from '../core/errors/amesh-error';
import { readPath, readVariable } from '../process/environment';
import { hideSecret, readSecret } from '../process/secrets';
import type { KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { fromText, readSecretFile, wipe } from './secrets/secret-bytes';

const CREDENTIAL = 'amesh-pin';

/** The longest PIN: a TPM takes no more bytes than its SHA-256 has. */
const MAX_BYTES = 32;

/**
 * The PIN of a key in hardware: the file AMESH_PIN_FILE, the systemd credential `amesh-pin`, or AMESH_PIN, in this order.
 * Once read, that variable leaves `process.env`.
 *
 * @returns 1 to 32 bytes, or none if no PIN is supplied
 * @throws VariableError for an obviously wrong variable; AmeshError `pin_required` if a file cannot be read, or is empty
 */
export async function suppliedPin({ env }: Pick<KeyContext, 'env'>): Promise<Uint8Array> {
  const path = readPath(env, 'AMESH_PIN_FILE', 'wrong');
  if (path !== undefined) return checked(await readPin(path, 'the file of AMESH_PIN_FILE'));
  const { CREDENTIALS_DIRECTORY } = env;
  if (CREDENTIALS_DIRECTORY && existsSync(join(CREDENTIALS_DIRECTORY, CREDENTIAL)))
    return checked(await readPin(join(CREDENTIALS_DIRECTORY, CREDENTIAL), `the credential ${CREDENTIAL}`));
  const AMESH_PIN = readSecret(env, 'AMESH_PIN');
  const pin = readVariable({ AMESH_PIN }, 'AMESH_PIN', 'wrong');
  hideSecret(env, 'AMESH_PIN');
  return checked(fromText(pin ?? ''));
}

async function readPin(path: string, name: string): Promise<Uint8Array> {
  const pin = await readSecretFile(path, MAX_BYTES).catch(() => null);
  if (pin === null) throw new AmeshError(KEY_CODES.pin_required, `The PIN cannot be read from ${name}.`);
  if (pin.length > 0) return pin;
  throw new AmeshError(KEY_CODES.pin_required, `The PIN cannot be read from ${name}: it is empty.`);
}

function checked(pin: Uint8Array): Uint8Array {
  if (pin.length <= MAX_BYTES && pin.at(-1) !== 0) return pin;
  const isTooLong = pin.length > MAX_BYTES;
  wipe(pin);
  throw isTooLong
    ? new AmeshError(KEY_CODES.pin_wrong, `A PIN has at most ${MAX_BYTES} bytes.`, {
        fix: 'Use a shorter one.',
      })
    : new AmeshError(KEY_CODES.pin_wrong, 'A PIN does not end with a zero byte, which hardware ignores.');
}
