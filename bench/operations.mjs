// What one signature and one check cost, by carrier, provider and kind of request, as ratios to node:crypto alone.
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import {
  createVerifier,
  InMemoryNonceStore,
  signRequest,
  toBase64Url,
  withWorkingKey,
} from '@authmesh/sdk/core';
import { nobleCrypto } from '@authmesh/sdk/crypto/noble';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { webCrypto } from '@authmesh/sdk/crypto/web';
import { PER_TURN } from './turns.mjs';

/** A verifier is replaced by a new one after so many. */
const PER_VERIFIER = 40 * PER_TURN;

const PROVIDERS = { node: nodeCrypto, web: webCrypto, noble: nobleCrypto };

/** A POST of 1 KiB, as a view. */
export const VIEW = {
  method: 'POST',
  target: '/api/orders?b=2&a=1',
  authority: 'api.example.com',
  headers: {
    host: 'api.example.com',
    'user-agent': 'bench',
    accept: '*/*',
    'content-type': 'application/json',
    'content-length': '1024',
  },
  body: new Uint8Array(1024).fill(0x61),
};

/** The same as a `Request`. */
export function toRequest({ method, target, authority, headers, body } = VIEW) {
  return new Request(`http://${authority}${target}`, { method, headers, body, duplex: 'half' });
}

/** One native signature and one native check of a message as long as a signature base, with everything at hand. */
export async function bareSides() {
  const privateKey = createPrivateKey({ key: await nodeCrypto.generatePrivateKey(), format: 'jwk' });
  const publicKey = createPublicKey(privateKey);
  const message = Buffer.alloc(420, 0x61);
  const signature = sign('sha256', message, privateKey);
  return {
    sign: () => sign('sha256', message, privateKey),
    verify: () => {
      if (!verify('sha256', message, publicKey, signature)) throw new Error('The bare check failed.');
    },
  };
}

/**
 * One operation of amesh.
 *
 * @param does `sign` or `verify`
 * @param kind `view` or `Request`
 * @param key `device` or `working`
 */
export async function ameshSide({ does, format, provider = 'node', kind = 'view', key = 'device' }) {
  const crypto = PROVIDERS[provider];
  const device = await crypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
  const signer = key === 'device' ? device : withWorkingKey(device);
  const options = { format, crypto };
  const signOne = () => signRequest(kind === 'view' ? VIEW : toRequest(), signer, options);
  return does === 'sign' ? signing(kind, signer, options) : verifying(signer, crypto, signOne);
}

function signing(kind, signer, options) {
  if (kind === 'view') return { run: () => signRequest(VIEW, signer, options) };
  let requests = [];
  return {
    prepare() {
      requests = Array.from({ length: PER_TURN }, () => toRequest());
    },
    run: (i) => signRequest(requests[i], signer, options),
  };
}

/** Verifies requests that were signed before the turn. */
async function verifying(signer, crypto, signOne) {
  const deviceId = `am_${toBase64Url(await nodeCrypto.sha256(signer.publicKey)).slice(0, 16)}`;
  const publicKey = toBase64Url(signer.publicKey);
  const allowList = {
    deviceId: null,
    hosts: ['api.example.com'],
    devices: [{ deviceId, publicKey, friendlyName: 'bench', roles: ['controller'] }],
  };
  let requests = [];
  let left = 0;
  let verifier;
  return {
    async prepare() {
      if (left === 0) {
        const nonceStore = new InMemoryNonceStore({ startedAt: 0 });
        verifier = createVerifier({ allowList, nonceStore, crypto });
        left = PER_VERIFIER;
      }
      left -= PER_TURN;
      requests = [];
      for (let i = 0; i < PER_TURN; i++) requests.push(await signOne());
    },
    async run(i) {
      const verdict = await verifier.verify(requests[i]);
      if (!verdict.ok) throw new Error(verdict.code);
    },
  };
}
