import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8 } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { readPath, readVariable } from '../process/environment';
import { hideSecret, readSecret } from '../process/secrets';
import type { KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';

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
  if (path !== undefined) return toPin(await readPin(path, 'the file of AMESH_PIN_FILE'));
  const { CREDENTIALS_DIRECTORY } = env;
  if (CREDENTIALS_DIRECTORY && existsSync(join(CREDENTIALS_DIRECTORY, CREDENTIAL)))
    return toPin(await readPin(join(CREDENTIALS_DIRECTORY, CREDENTIAL), `the credential ${CREDENTIAL}`));
  const AMESH_PIN = readSecret(env, 'AMESH_PIN');
  const pin = readVariable({ AMESH_PIN }, 'AMESH_PIN', 'wrong');
  hideSecret(env, 'AMESH_PIN');
  return toPin(pin ?? '');
}

async function readPin(path: string, name: string): Promise<string> {
  const text = await readFile(path)
    .then(fromUtf8)
    .catch(() => null);
  if (text === null) throw new AmeshError(KEY_CODES.pin_required, `The PIN cannot be read from ${name}.`);
  const pin = text.replace(/\r?\n$/, ''); // editors add it
  if (pin === '')
    throw new AmeshError(KEY_CODES.pin_required, `The PIN cannot be read from ${name}: it is empty.`);
  return pin;
}

function toPin(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > MAX_BYTES)
    throw new AmeshError(KEY_CODES.pin_wrong, `A PIN has at most ${MAX_BYTES} bytes.`, {
      fix: 'Use a shorter one.',
    });
  if (bytes.at(-1) === 0)
    throw new AmeshError(KEY_CODES.pin_wrong, 'A PIN does not end with a zero byte, which hardware ignores.');
  return bytes;
}
