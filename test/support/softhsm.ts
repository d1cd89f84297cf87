import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe } from 'vitest';

const MODULE = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib64/pkcs11/libsofthsm2.so'].find(existsSync);
/** `pkcs11js` is compiled where it is installed, so `npm install` does not bring it. */
const PKCS11JS = process.env.AMESH_PKCS11JS ?? resolve(import.meta.dirname, '../../node_modules/pkcs11js');
const IS_HERE = MODULE !== undefined && existsSync(PKCS11JS);

/** `describe` for what needs PKCS#11: skipped without SoftHSM and pkcs11js, but not in CI, where it then fails. */
export const describeWithSoftHsm = describe.skipIf(!IS_HERE && !process.env.CI);
if (!IS_HERE)
  console.warn(
    'Tests with PKCS#11 are skipped: there is no SoftHSM, or no pkcs11js (AMESH_PKCS11JS=its folder).',
  );

/** A token in SoftHSM with one P-256 key. */
export interface SoftHsm {
  /** For a process that uses it: where it is, its PIN, and the label of the key. */
  readonly env: Readonly<Record<'SOFTHSM2_CONF' | 'PKCS11_MODULE' | 'PKCS11_PIN' | 'KEY_ID', string>>;
  /** The folder of pkcs11js. */
  readonly pkcs11js: string;
  /** The public key: a point, 65 bytes. */
  readonly point: Uint8Array;
  remove(): void;
}

/** @throws Error if it is not installed */
export function startSoftHsm(): SoftHsm {
  if (!IS_HERE) throw new Error('apt-get install softhsm2; npm install --prefix FOLDER pkcs11js@2.1.7');
  const root = mkdtempSync(join(tmpdir(), 'amesh-softhsm-'));
  const SOFTHSM2_CONF = join(root, 'softhsm2.conf');
  mkdirSync(join(root, 'tokens'));
  writeFileSync(
    SOFTHSM2_CONF,
    `directories.tokendir = ${join(root, 'tokens')}\nobjectstore.backend = file\n`,
  );
  const env = { SOFTHSM2_CONF, PKCS11_MODULE: MODULE as string, PKCS11_PIN: '482916', KEY_ID: 'amesh' };
  const init = [
    '--init-token',
    '--free',
    '--label',
    'amesh',
    '--so-pin',
    '12345678',
    '--pin',
    env.PKCS11_PIN,
  ];
  execFileSync('softhsm2-util', init, { env: { ...process.env, ...env }, stdio: 'ignore' });
  const generate = `
    const pkcs11js = require(${JSON.stringify(PKCS11JS)});
    const hsm = new pkcs11js.PKCS11();
    hsm.load(process.env.PKCS11_MODULE);
    hsm.C_Initialize();
    const slot = hsm.C_GetSlotList(true)[0];
    const session = hsm.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
    hsm.C_Login(session, pkcs11js.CKU_USER, process.env.PKCS11_PIN);
    const shared = [{ type: pkcs11js.CKA_TOKEN, value: true }, { type: pkcs11js.CKA_LABEL, value: process.env.KEY_ID }];
    const keys = hsm.C_GenerateKeyPair(
      session,
      { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN },
      [...shared, { type: pkcs11js.CKA_EC_PARAMS, value: Buffer.from('06082a8648ce3d030107', 'hex') }],
      [...shared, { type: pkcs11js.CKA_SIGN, value: true }, { type: pkcs11js.CKA_EXTRACTABLE, value: false },
        { type: pkcs11js.CKA_SENSITIVE, value: true }],
    );
    const [{ value }] = hsm.C_GetAttributeValue(session, keys.publicKey, [{ type: pkcs11js.CKA_EC_POINT }]);
    process.stdout.write(value.subarray(2).toString('hex')); // an OCTET STRING around the point
  `;
  const output = execFileSync(process.execPath, ['-e', generate], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return {
    env,
    pkcs11js: PKCS11JS,
    point: Buffer.from(output, 'hex'),
    remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 20 }),
  };
}
