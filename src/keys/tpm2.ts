import { cryptoProvider } from '#crypto';
import { AmeshError } from '../core/errors/amesh-error';
import { readVariable, VariableError } from '../process/environment';
import type { Env } from '../process/home';
import type { KeyContext } from './backend';
import { KEY_CODES } from './errors/codes';
import { notHere } from './errors/not-here';
import { KeyFiles, lostKey } from './key-files';
import type { KeyMethods } from './late-backend';
import { isPinSupplied, keptPins, suppliedPin } from './pin';
import { wipe } from './secrets/secret-bytes';
import { parseAddress, RESOURCE_MANAGER, type TpmAddress } from './tpm2/connection';
import { checkKey, fingerprintOf, makeKey, TpmSigner } from './tpm2/key';
import { fromKeyFile, type KeyFile, toKeyFile } from './tpm2/key-file';
import { explain } from './tpm2/problems';
import { isSigningKey, readPublicArea } from './tpm2/public-area';
import { Tpm } from './tpm2/tpm';

const files = new KeyFiles('.tss2.pem');
const FINGERPRINT = /^TPM: ([A-Za-z0-9_-]{43})$/m;
const TEST_MESSAGE = new TextEncoder().encode('amesh tests a new key');

/**
 * The private key in a TPM 2.0, as a TSS2 key file that only this TPM opens. The TPM keeps nothing between signatures.
 *
 * @see docs/keys.md
 */
export const tpm2: KeyMethods = Object.freeze({
  async describe(context: KeyContext, ref?: string) {
    const hasPin =
      ref === undefined ? isPinSupplied(context) : !(await readKey(ref, context)).key.isWithoutPin;
    return hasPin
      ? 'In the TPM of this machine: nobody can copy it. A program can use it on this machine if it knows the PIN.'
      : 'In the TPM of this machine: nobody can copy it. A program can use it on this machine if it can read the key file and use the TPM.';
  },

  async probe(context: KeyContext, ref?: string) {
    const tpm = tpmOf(context.env);
    try {
      if (ref !== undefined) await openKey(ref, context);
      else await tpm.run((connection) => makeKey(connection, new Uint8Array())); // the TPM keeps nothing of this key
      return { available: true, hardware: true };
    } catch (error) {
      return { ...notHere(ref === undefined ? await explain(error, tpm) : error), hardware: true };
    }
  },

  async create(context: KeyContext) {
    const tpm = tpmOf(context.env);
    const pin = await suppliedPin(context);
    try {
      const { key, fingerprint, publicKey } = await makeAndTest(tpm, pin).catch(async (error) => {
        throw await explain(error, tpm);
      });
      const ref = files.refOf(publicKey);
      await files.write(ref, toText(key, fingerprint), context);
      if (!key.isWithoutPin) keptPins.keep(context, { bytes: pin });
      return { ref, publicKey };
    } finally {
      wipe(pin);
    }
  },

  async open(ref: string, context: KeyContext) {
    return openKey(ref, context);
  },

  async remove(ref: string, context: KeyContext) {
    await files.remove(ref, context);
    keptPins.forget(context);
  },
} satisfies KeyMethods);

async function openKey(ref: string, context: KeyContext): Promise<TpmSigner> {
  const { key, text } = await readKey(ref, context);
  const publicKey = toPoint(key);
  const tpm = tpmOf(context.env);
  const pin = key.isWithoutPin ? new Uint8Array() : await suppliedPin(context);
  if (!key.isWithoutPin && pin.length === 0) throw new AmeshError(KEY_CODES.pin_required);
  const facts = { fingerprint: FINGERPRINT.exec(text)?.[1], isWithoutPin: key.isWithoutPin };
  const explainThis = (error: unknown) => explain(error, tpm, facts);
  try {
    await tpm.run((connection) => checkKey(connection, key)); // now, and not at the first request
  } catch (error) {
    wipe(pin);
    throw await explainThis(error);
  }
  return new TpmSigner(tpm, key, publicKey, pin, explainThis);
}

/** @throws AmeshError `identity_unreadable` */
async function readKey(
  ref: string,
  context: KeyContext,
): Promise<{ readonly key: KeyFile; readonly text: string }> {
  const text = await files.read(ref, context);
  const key = fromKeyFile(text);
  if (key === null) throw lostKey(`The key file ${ref} is damaged.`);
  return { key, text };
}

/**
 * The TPM that AMESH_TPM names, by default `/dev/tpmrm0`.
 *
 * @throws VariableError
 */
function tpmOf(env: Env): Tpm {
  return Tpm.at(readAddress(env));
}

function readAddress(env: Env): TpmAddress {
  const text = readVariable(env, 'AMESH_TPM', 'wrong');
  if (text === undefined) return { kind: 'device', path: RESOURCE_MANAGER };
  const address = parseAddress(text);
  if (address === null)
    throw new VariableError(
      'AMESH_TPM',
      'is not an address of a TPM.',
      `Write device:${RESOURCE_MANAGER}, or tcp:HOST:PORT for a software TPM.`,
    );
  return address;
}

/** Makes a key and tests it: otherwise, faulty firmware would be noticed only at the first request. */
async function makeAndTest(tpm: Tpm, pin: Uint8Array) {
  const { key, fingerprint } = await tpm.run(async (connection) => ({
    key: await makeKey(connection, pin),
    fingerprint: await fingerprintOf(connection).catch(() => undefined),
  }));
  const publicKey = toPoint(key);
  const signer = new TpmSigner(tpm, key, publicKey, pin, async (error) => error as Error);
  const verifier = await cryptoProvider.importPublicKey(publicKey);
  if (!(await verifier.verify(await signer.sign(TEST_MESSAGE), TEST_MESSAGE)))
    throw new RangeError('The TPM signed wrongly.');
  return { key, fingerprint, publicKey };
}

/** @throws AmeshError `identity_unreadable` for a key that amesh would not make */
function toPoint(key: KeyFile): Uint8Array {
  const area = readPublicArea(key.publicArea);
  if (area === null || !isSigningKey(area))
    throw lostKey('The key file does not contain a P-256 key that stays in its TPM and only signs.');
  return area.point;
}

function toText(key: KeyFile, fingerprint: string | undefined): string {
  const lines = ['A private key of amesh. Only the TPM that made it can use it: it is worthless elsewhere.'];
  if (fingerprint !== undefined) lines.push(`TPM: ${fingerprint}`);
  return `${lines.join('\n')}\n\n${toKeyFile(key)}`;
}
