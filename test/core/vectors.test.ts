import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/core/errors/fault';
import { signRequest } from '../../src/core/sign/sign-request';
import { readCredentials } from '../../src/core/verify/read';
import { createSignatureBase, requiredComponents, signatureParameters } from '../../src/core/wire/base';
import type { Credentials } from '../../src/core/wire/credentials';
import type { RequestLine } from '../../src/core/wire/line';
import { readRequestLine } from '../../src/core/wire/line';
import { providers } from '../support/providers';
import {
  expectedCode,
  nowOf,
  type Vector,
  vectorAllowList,
  vectors,
  vectorsStartedAt,
} from '../support/vectors';

const toView = ({ request }: Vector) => ({ ...request, body: Buffer.from(request.body, 'base64') });

describe.each(providers)('wire vectors with the $id provider', (crypto) => {
  it.each(vectors.cases)('$name', async (vector) => {
    const verifier = createVerifier({
      allowList: vectorAllowList,
      clockSkewSeconds: vectors.clockSkewSeconds,
      nonceStore: new InMemoryNonceStore({ now: () => nowOf(vector), startedAt: vectorsStartedAt }),
      now: () => nowOf(vector),
      delegates: vector.delegates,
      crypto,
    });
    const verdict = await verifier.verify(toView(vector));
    expect(verdict.ok).toBe(vector.expect === 'accept');
    if (verdict.ok) expect(verdict.caller.deviceId).toBe(vectors.devices.controller.deviceId);
    else expect(verdict.code).toBe(expectedCode(vector));
  });
});

describe('signing', () => {
  const accepted = vectors.cases.filter((vector) => vector.expect === 'accept');

  it.each(accepted)('reads the same signature base: $name', (vector) => {
    const view = toView(vector);
    const credentials = readCredentials(view.headers) as Credentials;
    expect(credentials).not.toBeInstanceOf(Fault);
    const covered = credentials.covered ?? requiredComponents(view.headers, credentials.form);
    const parameters = credentials.parameters ?? signatureParameters(covered, credentials);
    const line = readRequestLine(view) as RequestLine;
    expect(createSignatureBase(line, view.headers, covered, parameters)).toBe(vector.signatureBase);
  });

  // Only what we would write ourselves: our order of components and parameters, no further ones, our label.
  const ours = accepted.filter(
    (vector) =>
      /\);created=\d+;nonce="[^"]+";keyid="[^"]+";tag="amesh"$/.test(vector.signatureBase) &&
      !/another order|covered$|another label|beside ours/.test(vector.name),
  );

  it.each(ours)('makes the same signature base: $name', async (vector) => {
    const view = toView(vector);
    const { created, nonce } = readCredentials(view.headers) as Credentials;
    const headers = Object.fromEntries(
      Object.entries(view.headers).filter(
        ([name, value]) =>
          !/^(?:content-digest|authmesh-key|signature.*)$/.test(name) && !value.startsWith('AuthMesh '),
      ),
    );
    let base = '';
    const signer = {
      publicKey: Buffer.from(vectors.devices.controller.publicKey, 'base64url'),
      sign: async (message: Uint8Array) => {
        base = new TextDecoder().decode(message);
        return new Uint8Array(64);
      },
    };
    const statement = view.headers['authmesh-key'];
    const { deviceId } = vectors.devices.controller;
    const requestSigner = () => ({ ...signer, deviceId, statement: statement as string });
    const all = statement === undefined ? signer : { ...signer, requestSigner };
    await signRequest({ ...view, headers }, all, { format: vector.format, created, nonce });
    expect(base).toBe(vector.signatureBase);
  });
});
