import { createHash, randomBytes } from 'node:crypto';
import type { Signer } from '@authmesh/sdk/core';
import { signRequest } from '@authmesh/sdk/core';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import {
  invoke,
  type LambdaHandler,
  type LambdaRequest,
  type LambdaSource,
  lambdaAdapters,
  lambdaSources,
} from '../support/lambda';
import { vectors } from '../support/vectors';
import { type Outcome, Subject } from './subject';

const HOST = 'abc123.lambda-url.us-west-2.on.aws';
const { deviceId } = vectors.devices.controller;
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
const binary = new Uint8Array(randomBytes(1000));
binary.set([0xef, 0xbb, 0xbf, 0xff, 0xfe, 0x00, 0x80]);

describe.each(lambdaAdapters)('$name', (adapter) => {
  let signer: Signer;
  let subject: Subject;
  let handler: LambdaHandler;

  beforeAll(async () => {
    signer = await signerOf('controller');
    subject = new Subject();
    handler = await adapter.create(subject);
  });
  beforeEach(() => void subject.control('POST', JSON.stringify({ hosts: [HOST], maxBodyBytes: 100_000 })));
  const outcome = () => JSON.parse(subject.control('GET', '')) as Outcome;

  async function signed(
    request: {
      method?: string;
      target?: string;
      headers?: Record<string, string>;
      body?: Uint8Array | string;
    } = {},
  ): Promise<LambdaRequest> {
    const { method = 'GET', target = '/', headers = {}, body = '' } = request;
    const bytes = Buffer.from(body as string);
    const view = { method, target, authority: HOST, headers, body: bytes };
    const { headers: all } = await signRequest(view, signer);
    const length: [string, string][] = bytes.length === 0 ? [] : [['Content-Length', String(bytes.length)]];
    return {
      method,
      target,
      headers: [['Host', HOST], ...(Object.entries(all) as [string, string][]), ...length],
      body: bytes,
    };
  }

  describe.each(lambdaSources)('%s', (source: LambdaSource) => {
    it.each([
      ['GET', '', {}],
      ['POST', '{"text":"grüße ☃"}', { 'content-type': 'application/json' }],
      ['POST', binary, { 'content-type': 'application/octet-stream' }],
      ['DELETE', '', {}],
    ] as const)('lets %s through with its bytes', async (method, body, headers) => {
      const answer = await invoke(
        handler,
        await signed({ method, target: '/a/b?x=1', headers, body }),
        source,
      );
      expect(outcome()).toEqual({ rejections: [], handled: 1 });
      expect(answer.status).toBe(200);
      expect(JSON.parse(answer.body)).toMatchObject({
        caller: { deviceId },
        method,
        target: '/a/b?x=1',
        sha256: sha256(body),
      });
    });

    it('refuses another body than the one that was signed', async () => {
      const request = await signed({ method: 'POST', body: 'abc' });
      const answer = await invoke(handler, { ...request, body: 'Abc' }, source);
      expect(outcome()).toEqual({ rejections: ['content_digest_mismatch'], handled: 0 });
      expect(answer.status).toBe(401);
      expect(answer.body).toBe('{"error":"unauthorized"}');
    });

    it('refuses what is not signed', async () => {
      const answer = await invoke(handler, { method: 'GET', target: '/', headers: [['Host', HOST]] }, source);
      expect(outcome()).toEqual({ rejections: ['missing_header'], handled: 0 });
      expect(answer.status).toBe(401);
    });
  });
});
