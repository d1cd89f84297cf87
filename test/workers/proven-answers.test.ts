import { setTimeout as sleep } from 'node:timers/promises';
import { issueAnswerKey } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { asking, checked, receive } from '../support/proofs';
import type { RuntimeServer } from '../support/runtime-server';
import { vectors } from '../support/vectors';
import { startWorker } from '../support/worker';
import { runtime, sealedList } from './workerd';

const { target } = vectors.devices;
const body = new TextEncoder().encode('grüße');

describe.skipIf(runtime === null)('a Worker with a mounted answer key', () => {
  let worker: RuntimeServer;
  beforeAll(async () => {
    const { text } = await issueAnswerKey(await signerOf('target'), { lifetimeSeconds: 3600 });
    const variables = {
      AMESH_OWNER_KEY: target.publicKey,
      AMESH_ALLOW_LIST: await sealedList(),
      AMESH_ANSWER_KEY: text,
    };
    worker = await startWorker(variables);
    // Its first request starts the nonce store, which refuses what was signed before: also earlier in the same second.
    await ask('/orders');
    await sleep(1100);
  });
  afterAll(() => worker?.close());

  async function ask(path: string, signedBy: keyof typeof vectors.devices = 'controller') {
    const view = { method: 'POST', target: path, authority: `127.0.0.1:${worker.port}`, body };
    const { request, expected } = await asking(view, {
      created: Math.floor(Date.now() / 1000),
      signer: await signerOf(signedBy),
      targetDeviceId: target.deviceId,
    });
    return checked(await receive(worker.port, request), expected);
  }

  it.each(['/orders', '/hono/orders'])('proves its answers: %s', async (path) => {
    const answer = await ask(path);
    expect(answer, answer.text).toMatchObject({ status: 200, proof: 'proven' });
    expect(JSON.parse(answer.text)).toEqual({ by: 'controller', body: 'grüße' });
    expect(answer.covered).toContain('authmesh-key');
  });

  it.each(['/hono/read', '/hono/write'])('proves the refusal for a scope: %s', async (path) => {
    expect(await ask(path)).toMatchObject({ status: 403, proof: 'proven' });
  });

  it('proves nothing to a stranger', async () => {
    expect(await ask('/orders', 'stranger')).toMatchObject({
      status: 401,
      proof: 'it has no signature of amesh',
    });
  });
});
