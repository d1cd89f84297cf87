import {
  createAllowList,
  createClient,
  createVerifier,
  type RequestSigner,
  type Signer,
  signRequest,
  withWorkingKey,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it, vi } from 'vitest';
import { isLowS } from '../../src/core/crypto/low-s';
import { readStatement } from '../../src/core/statements/read-statement';
import { NOW, signerOf } from '../support/core';
import { providers } from '../support/providers';
import { vectors } from '../support/vectors';

const HOUR = 3600;
const view = { method: 'GET', target: '/a', authority: 'api.example.com', headers: {} };

/** A device key that counts its signatures and can fail or wait, and the clock of its process. */
async function slowDevice(options: Parameters<typeof withWorkingKey>[1] = {}) {
  const key = await signerOf('controller');
  const device = {
    signatures: 0,
    seconds: NOW,
    fault: null as Error | null,
    /** While set, signing waits for it. */
    gate: null as Promise<void> | null,
    signer: null as unknown as Signer,
    request: async () => (await device.signer.requestSigner?.()) as RequestSigner,
    /** Waits for what goes on in the background. */
    settled: () => new Promise<void>((resolve) => setImmediate(resolve)),
  };
  const signer: Signer = {
    publicKey: key.publicKey,
    sign: async (message) => {
      device.signatures++;
      await device.gate;
      if (device.fault !== null) throw device.fault;
      return key.sign(message);
    },
  };
  device.signer = withWorkingKey(signer, { now: () => device.seconds * 1000, ...options });
  return device;
}

const claimsOf = ({ statement }: RequestSigner) => readStatement(statement, 'request');

describe('A working key', () => {
  it('is named by a statement of the device, which begins 300 s ago and ends in two hours', async () => {
    const device = await slowDevice();
    expect(device.signatures).toBe(0); // nothing is made before a request needs it
    const { statement, deviceId, publicKey } = await device.request();
    const claims = readStatement(statement, 'request');
    expect(claims).toMatchObject({ deviceId, publicKey, issuedAt: NOW - 300, expiresAt: NOW + 2 * HOUR });
    const { input = '', signature = new Uint8Array() } = claims ?? {};
    expect(isLowS(signature)).toBe(true);
    const key = await nodeCrypto.importPublicKey(device.signer.publicKey);
    expect(await key.verify(signature, new TextEncoder().encode(input))).toBe(true);
  });

  it('signs requests, and the device key signs everything else', async () => {
    const device = await slowDevice();
    for (let i = 0; i < 20; i++) await signRequest(view, device.signer);
    expect(device.signatures).toBe(1);
    await device.signer.sign(new TextEncoder().encode('a seal'));
    expect(device.signatures).toBe(2);
  });

  it('costs one signature of the device for 500 concurrent callers', async () => {
    const device = await slowDevice();
    const signers = await Promise.all(Array.from({ length: 500 }, () => device.request()));
    expect(new Set(signers.map(({ statement }) => statement)).size).toBe(1);
    expect(device.signatures).toBe(1);
  });

  it('costs at most one signature an hour', async () => {
    const device = await slowDevice();
    for (let minute = 0; minute < 24 * 60; minute++) {
      await device.request();
      await device.settled();
      device.seconds += 60;
    }
    expect(device.signatures).toBeLessThanOrEqual(24);
    expect(device.signatures).toBeGreaterThan(20);
  });

  it('is renewed in the background: requests use the old one until the new one is there', async () => {
    const device = await slowDevice();
    const first = await device.request();
    device.seconds += HOUR;
    let open = () => {};
    device.gate = new Promise((resolve) => {
      open = resolve;
    });
    const during = await Promise.all([device.request(), device.request()]);
    expect(during).toEqual([first, first]);
    await vi.waitFor(() => expect(device.signatures).toBe(2));
    open();
    await vi.waitFor(async () => expect(await device.request()).not.toBe(first));
    expect(claimsOf(await device.request())).toMatchObject({ expiresAt: NOW + 3 * HOUR });
    expect(device.signatures).toBe(2);
  });

  it('is not renewed while no request needs it', async () => {
    const device = await slowDevice();
    await device.request();
    device.seconds += 48 * HOUR;
    await device.settled();
    expect(device.signatures).toBe(1);
    expect(claimsOf(await device.request())).toMatchObject({ expiresAt: NOW + 50 * HOUR });
  });

  it('serves to its end if it cannot be renewed, is tried every five minutes, and only then requests say why', async () => {
    const onRenewalFailure = vi.fn();
    const device = await slowDevice({ onRenewalFailure });
    const first = await device.request();
    const fault = new Error('The TPM is gone.');
    device.fault = fault;
    for (device.seconds = NOW + HOUR; device.seconds < NOW + 2 * HOUR - 60; device.seconds += 10) {
      expect(await device.request()).toBe(first);
      await device.settled();
    }
    expect(onRenewalFailure).toHaveBeenCalledWith(fault, (NOW + 2 * HOUR - 60) * 1000);
    expect(onRenewalFailure.mock.calls.length).toBeGreaterThan(10);
    expect(onRenewalFailure.mock.calls.length).toBeLessThan(13);
    await expect(device.request()).rejects.toBe(fault);
    await expect(signRequest(view, device.signer)).rejects.toBe(fault);
    device.fault = null;
    expect(await device.request()).not.toBe(first);
  });

  it('survives a callback that throws', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => {});
    const device = await slowDevice({
      onRenewalFailure: () => {
        throw new Error('of the application');
      },
    });
    const first = await device.request();
    device.seconds += HOUR;
    device.fault = new Error('The TPM is gone.');
    expect(await device.request()).toBe(first);
    await vi.waitFor(() =>
      expect(logged).toHaveBeenCalledWith('amesh: onRenewalFailure threw', expect.any(Error)),
    );
    logged.mockRestore();
  });

  it('tries again after a failure, once for all callers', async () => {
    const device = await slowDevice();
    device.fault = new Error('The TPM is busy.');
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => device.request()));
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect(device.signatures).toBe(1);
    device.fault = null;
    await device.request();
    expect(device.signatures).toBe(2);
  });

  describe('when the clock is set', () => {
    it('back, to before the statement begins, is made again immediately', async () => {
      const device = await slowDevice();
      await device.request();
      device.seconds -= 24 * HOUR;
      expect(claimsOf(await device.request())).toMatchObject({ issuedAt: NOW - 24 * HOUR - 300 });
      expect(device.signatures).toBe(2);
    });

    it('back by some seconds after it was made, is made again in the background', async () => {
      const device = await slowDevice();
      const first = await device.request();
      device.seconds -= 200;
      expect(await device.request()).toBe(first);
      await vi.waitFor(async () =>
        expect(claimsOf(await device.request())).toMatchObject({ issuedAt: NOW - 500 }),
      );
      expect(device.signatures).toBe(2);
    });

    it('back by less time than it has lived, stays', async () => {
      const device = await slowDevice();
      const first = await device.request();
      device.seconds += 600;
      device.seconds -= 500;
      expect(await device.request()).toBe(first);
      expect(device.signatures).toBe(1);
    });

    it('forward, beyond its end, is made again immediately; and again when the clock is set right', async () => {
      const device = await slowDevice();
      await device.request();
      device.seconds += 365 * 24 * HOUR;
      await device.request();
      device.seconds = NOW + 10;
      expect(claimsOf(await device.request())).toMatchObject({ issuedAt: NOW - 290 });
      expect(device.signatures).toBe(3);
      await device.request();
      expect(device.signatures).toBe(3);
    });

    it('while the device signs, is not used if it has ended by then', async () => {
      const device = await slowDevice();
      let open = () => {};
      device.gate = new Promise((resolve) => {
        open = resolve;
      });
      const waiting = device.request();
      await vi.waitFor(() => expect(device.signatures).toBe(1));
      device.seconds += 12 * HOUR;
      open();
      expect(claimsOf(await waiting)).toMatchObject({ expiresAt: NOW + 14 * HOUR });
      expect(device.signatures).toBe(2);
    });

    it('back, after a renewal that failed, is renewed again', async () => {
      const device = await slowDevice();
      await device.request();
      device.seconds += HOUR;
      device.fault = new Error('The TPM is gone.');
      await device.request();
      await device.settled();
      device.fault = null;
      device.seconds = NOW - 200;
      await device.request();
      await vi.waitFor(() => expect(device.signatures).toBe(3));
    });
  });

  it.each(providers)('can be made with $id crypto', async (crypto) => {
    const device = await slowDevice({ crypto });
    const signer = await device.request();
    expect(claimsOf(signer)?.publicKey).toEqual(signer.publicKey);
    const message = new TextEncoder().encode('a request');
    const key = await crypto.importPublicKey(signer.publicKey);
    expect(await key.verify(await signer.sign(message), message)).toBe(true);
  });

  describe('that a server refuses', () => {
    it('is renewed immediately, then once more after five minutes, and then not for an hour', async () => {
      const device = await slowDevice();
      const first = await device.request();
      device.seconds += 60;
      first.refused?.();
      first.refused?.();
      await vi.waitFor(async () => expect((await device.request()).statement).not.toBe(first.statement));
      const second = await device.request();
      expect(claimsOf(second)).toMatchObject({ issuedAt: NOW + 60 });
      first.refused?.(); // a late answer to a request of the old one
      const refuseAt = async (seconds: number) => {
        device.seconds = NOW + 60 + seconds;
        (await device.request()).refused?.();
        await device.settled();
      };
      for (const [seconds, signatures] of [
        [0, 2],
        [299, 2],
        [300, 3], // the clock of the target may be ahead of this one
        [700, 3],
        [HOUR - 1, 3],
        [HOUR, 4],
      ] as const) {
        await refuseAt(seconds);
        await vi.waitFor(() => expect(device.signatures, `after ${seconds} s`).toBe(signatures));
      }
    });

    it('while a renewal is under way is renewed again, since the new one may have been cut, too', async () => {
      const device = await slowDevice();
      const first = await device.request();
      device.seconds += HOUR;
      let open = () => {};
      device.gate = new Promise((resolve) => {
        open = resolve;
      });
      (await device.request()).refused?.(); // the request begins a renewal
      open();
      await vi.waitFor(async () => expect((await device.request()).statement).not.toBe(first.statement));
      const second = await device.request();
      expect(claimsOf(second)).toMatchObject({ issuedAt: NOW + HOUR - 300 });
      second.refused?.();
      await vi.waitFor(async () => expect(claimsOf(await device.request())?.issuedAt).toBe(NOW + HOUR));
    });

    it('is not renewed again if the clock is set back by a second', async () => {
      const device = await slowDevice();
      const first = await device.request();
      first.refused?.();
      await vi.waitFor(async () => expect((await device.request()).statement).not.toBe(first.statement));
      device.seconds -= 1;
      expect(claimsOf(await device.request())).toMatchObject({ issuedAt: NOW });
      expect(device.signatures).toBe(2);
    });

    it('and could not be renewed is renewed five minutes later', async () => {
      const device = await slowDevice({ onRenewalFailure: () => {} });
      const first = await device.request();
      device.fault = new Error('unplugged');
      first.refused?.();
      await vi.waitFor(() => expect(device.signatures).toBe(2));
      await device.settled();
      device.fault = null;
      first.refused?.();
      await device.settled();
      expect(device.signatures).toBe(2);
      device.seconds += 300;
      first.refused?.();
      await vi.waitFor(async () => expect(claimsOf(await device.request())?.issuedAt).toBe(NOW + 300));
    });

    it('does not delay the response: not even if it has ended, and the device key waits for a person', async () => {
      const device = await slowDevice();
      const client = createClient({
        signer: device.signer,
        now: () => device.seconds * 1000,
        fetch: async () => {
          device.seconds += 24 * HOUR;
          device.gate = new Promise(() => {});
          return new Response(null, {
            status: 401,
            headers: { 'www-authenticate': 'AuthMesh error="unauthorized"' },
          });
        },
      });
      expect((await client.fetch('https://api.example.com/')).status).toBe(401);
    });

    describe('because it was cut at the target', () => {
      /** A device, and a target whose clock is the same. */
      async function withTarget() {
        const device = await slowDevice();
        const { deviceId, publicKey } = vectors.devices.controller;
        const target = { keysSince: 0, isTrusting: true, requests: [] as Request[] };
        const list = () =>
          createAllowList({
            devices: target.isTrusting
              ? [
                  {
                    deviceId,
                    publicKey,
                    friendlyName: 'c',
                    roles: ['controller'],
                    keysSince: target.keysSince,
                  },
                ]
              : [],
          });
        const now = () => device.seconds * 1000;
        const verifier = createVerifier({ allowList: { current: list }, authority: 'api.example.com', now });
        const { fetch } = createClient({
          signer: device.signer,
          now,
          fetch: async (input, init) => {
            const request = new Request(input, init);
            target.requests.push(request.clone());
            const verdict = await verifier.verify(request);
            return verdict.ok ? new Response(await verdict.request.text()) : verdict.response;
          },
        });
        return { device, target, fetch };
      }

      it('a request is sent once more, with a key that the target accepts', async () => {
        const { device, target, fetch } = await withTarget();
        expect((await fetch('https://api.example.com/')).status).toBe(200);
        device.seconds += 10;
        target.keysSince = device.seconds;
        const response = await fetch('https://api.example.com/', { method: 'POST', body: 'once' });
        expect([response.status, await response.text()]).toEqual([200, 'once']);
        expect([device.signatures, target.requests.length]).toEqual([2, 3]);
      });

      it('the first request of a new process succeeds, and the ones next to it', async () => {
        const { device, target, fetch } = await withTarget();
        target.keysSince = NOW;
        const all = await Promise.all(Array.from({ length: 5 }, () => fetch('https://api.example.com/')));
        expect(all.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
        expect([device.signatures, target.requests.length]).toEqual([2, 10]);
      });

      it('over plain http a request is not repeated, and the next one is accepted', async () => {
        const { device, target, fetch } = await withTarget();
        target.keysSince = NOW;
        expect((await fetch('http://api.example.com/')).status).toBe(401);
        await vi.waitFor(() => expect(device.signatures).toBe(2));
        await device.settled();
        expect((await fetch('http://api.example.com/')).status).toBe(200);
        expect(target.requests).toHaveLength(2);
      });

      it('a caller that is not trusted at all asks its device key once more, and then stops', async () => {
        const { device, target, fetch } = await withTarget();
        target.isTrusting = false;
        for (let i = 0; i < 5; i++) expect((await fetch('https://api.example.com/')).status).toBe(401);
        expect([device.signatures, target.requests.length]).toEqual([2, 6]);
      });

      it('a stream is not sent again', async () => {
        const { target, fetch } = await withTarget();
        target.keysSince = NOW;
        const digest = 'sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';
        const response = await fetch('https://api.example.com/', {
          method: 'POST',
          body: new Blob([]).stream(),
          headers: { 'content-digest': digest },
          duplex: 'half',
        } as RequestInit);
        expect([response.status, target.requests.length]).toEqual([401, 1]);
      });
    });
  });

  it('is refused with wrong options', async () => {
    const signer = await signerOf('controller');
    const make = (options: object) => () => withWorkingKey(signer, options);
    for (const lifetimeSeconds of [0, 119, 86_101, 600.5, '7200', Number.NaN, Number.POSITIVE_INFINITY])
      expect(make({ lifetimeSeconds })).toThrow(TypeError);
    expect(make({ lifetime: 3600 })).toThrow('withWorkingKey() has no option "lifetime".');
    expect(make({ now: 5 })).toThrow('now must be a function.');
    expect(make({ crypto: {} })).toThrow('crypto must be a CryptoProvider.');
    expect(make({ onRenewalFailure: 'log' })).toThrow('onRenewalFailure must be a function.');
    expect(() => withWorkingKey({} as Signer)).toThrow('withWorkingKey() needs a signer.');
    expect(make({ lifetimeSeconds: 86_100 })).not.toThrow();
  });

  it('reports a device key that signs wrongly', async () => {
    const { publicKey } = await signerOf('controller');
    const signer = withWorkingKey({ publicKey, sign: async () => new Uint8Array(63) });
    await expect(signRequest(view, signer)).rejects.toThrow(
      'The signature of the signer is not 64 bytes long.',
    );
  });
});
