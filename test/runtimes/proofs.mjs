// Run by each runtime with the built SDK: prints what its client makes of answers.
import * as core from '@authmesh/sdk/core';
import { webCrypto } from '@authmesh/sdk/crypto/web';
import { runProofCases } from './proof-cases.mjs';

const { origin, privateKey, deviceId, publicKey } = JSON.parse(process.argv[2]);
const signer = await webCrypto.importPrivateKey(privateKey);
const target = { deviceId, publicKey: core.fromBase64Url(publicKey) };
console.log(JSON.stringify(await runProofCases(core, { origin, signer, target })));
