import { existsSync } from 'node:fs';
import { AmeshError } from '../core/errors/amesh-error';
import { readPath, readVariable } from '../process/environment';
import type { Env } from '../process/home';
import { hideSecret, readSecret } from '../process/secrets';
import type { KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { KeptSecrets } from './secrets/kept-secrets';
import {
  credentialIn,
  fileOf,
  fromText,
  readSecretFile,
  type SecretFile,
  wipe,
} from './secrets/secret-bytes';

const CREDENTIAL = 'amesh-pin';

/** The longest PIN: a TPM takes no more bytes than its SHA-256 has. */
const MAX_BYTES = 32;

/** The PINs of keys that were just made, for the next {@link suppliedPin}. */
export const keptPins = new KeptSecrets<{ readonly bytes: Uint8Array }>();

/**
 * Whether a PIN is supplied in this environment. Nothing is read, since a pipe can be read only once.
 *
 * @throws VariableError for an obviously wrong variable, unless a source with precedence supplies the PIN
 */
export function isPinSupplied({ env }: Pick<KeyContext, 'env'>): boolean {
  return sourceOf(env) !== null;
}

/**
 * The PIN of a key in hardware: the file AMESH_PIN_FILE, the systemd credential `amesh-pin`, or AMESH_PIN, in this order.
 * Once read, that variable leaves `process.env`.
 *
 * @returns 1 to 32 bytes, or none if no PIN is supplied
 * @throws VariableError for an obviously wrong variable; AmeshError `pin_required` if a file cannot be read, or is empty
 */
export async function suppliedPin(context: KeyContext): Promise<Uint8Array> {
  const kept = keptPins.take(context);
  if (kept !== undefined) return kept.bytes;
  const source = sourceOf(context.env);
  if (source === null) return new Uint8Array();
  if ('path' in source) return checked(await readPin(source), source.fix);
  hideSecret(context.env, 'AMESH_PIN');
  return checked(fromText(source.text));
}

function sourceOf(env: Env): SecretFile | { readonly text: string } | null {
  const path = readPath(env, 'AMESH_PIN_FILE', 'wrong');
  if (path !== undefined) return fileOf('AMESH_PIN_FILE', path);
  const { CREDENTIALS_DIRECTORY } = env;
  const credential = CREDENTIALS_DIRECTORY ? credentialIn(CREDENTIALS_DIRECTORY, CREDENTIAL) : undefined;
  if (credential !== undefined && existsSync(credential.path)) return credential;
  const AMESH_PIN = readSecret(env, 'AMESH_PIN');
  const text = readVariable({ AMESH_PIN }, 'AMESH_PIN', 'wrong');
  return text === undefined ? null : { text };
}

async function readPin({ path, name, fix }: SecretFile): Promise<Uint8Array> {
  const pin = await readSecretFile(path, MAX_BYTES).catch(() => null);
  if (pin === null)
    throw new AmeshError(KEY_CODES.pin_required, `The PIN cannot be read from ${name}.`, { fix });
  if (pin.length > 0) return pin;
  throw new AmeshError(KEY_CODES.pin_required, `The PIN cannot be read from ${name}: it is empty.`, { fix });
}

/** @param fix for a PIN of a file */
function checked(pin: Uint8Array, fix?: string): Uint8Array {
  if (pin.length <= MAX_BYTES && pin.at(-1) !== 0) return pin;
  const isTooLong = pin.length > MAX_BYTES;
  wipe(pin);
  throw isTooLong
    ? new AmeshError(KEY_CODES.pin_wrong, `A PIN has at most ${MAX_BYTES} bytes.`, {
        fix: fix ?? 'Use a shorter one.',
      })
    : new AmeshError(KEY_CODES.pin_wrong, 'A PIN does not end with a zero byte, which hardware ignores.', {
        fix,
      });
}
