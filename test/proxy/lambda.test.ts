import { type Refusal, signRequest } from '@authmesh/sdk/core';
import { asSent } from '@authmesh/sdk/lambda';
import express from 'express';
import serverlessHttp from 'serverless-http';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { hostOf, invoke, type LambdaEvent, type LambdaSource } from '../support/lambda';
import { createMachines, type Machines } from '../support/machines';

let machines: Machines;
let proxy: (event: LambdaEvent) => Promise<unknown>;
beforeAll(async () => {
  vi.stubEnv('AWS_LAMBDA_FUNCTION_NAME', 'orders'); // as AWS sets it
  machines = await createMachines();
  const hosts = [hostOf('HTTP API 2.0')];
  const app = express().use(machines.targetWith({ hosts }).verify());
  // biome-ignore lint/suspicious/noExplicitAny: what its types want of an app differs, and what comes is the same
  const handler = serverlessHttp(app as any);
  proxy = (event) => handler(event, {});
});
beforeEach(() => void machines.refusals.splice(0));
afterAll(async () => {
  vi.unstubAllEnvs();
  await machines.remove();
});

async function refused(source: LambdaSource, target: string, wrap = (event: LambdaEvent) => event) {
  const { headers } = await signRequest(
    { method: 'GET', target, authority: hostOf(source), headers: {} },
    machines.signer,
  );
  const lines: [string, string][] = [
    ['Host', hostOf(source)],
    ...(Object.entries(headers) as [string, string][]),
  ];
  await invoke((event) => proxy(wrap(event)), { method: 'GET', target, headers: lines }, source);
  return machines.refusals[0] as Refusal;
}

it('an event with a decoded path names asSent()', async () => {
  const found = await refused('HTTP API 2.0', '/orders/a%20b');
  expect(found.fix).toContain('asSent()');
});

it('a path that only the caller knows leads to AuthMesh-Path', async () => {
  const found = await refused('HTTP API 2.0', '/orders/a%40b', asSent);
  expect(found).toMatchObject({
    code: 'invalid_signature',
    detail: 'The signature is valid for the path /orders/a%40b.',
    fix: expect.stringContaining('AuthMesh-Path'),
  });
});
