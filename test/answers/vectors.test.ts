import { type AnswerView, deviceIdOf, fromBase64Url, verifyAnswer } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { answerNonce } from '../../src/core/answers/answer';
import { createAnswerBase } from '../../src/core/answers/base';
import { equalBytes } from '../../src/core/encoding';
import { providers } from '../support/providers';
import { vectors } from '../support/vectors';
import answers from '../vectors/answers.json' with { type: 'json' };

interface AnswerVector {
  readonly name: string;
  readonly proven: boolean;
  readonly signatureBase?: string;
  /** If the caller knows that the target has moved: its present key, and the former ones that still count. */
  readonly present?: string;
  readonly former?: readonly string[];
  readonly request: {
    readonly method: string;
    readonly signatureBase: string;
    /** base64url */
    readonly signature: string;
    readonly asksForPart?: boolean;
    readonly isConditional?: boolean;
  };
  /** Its body in base64. */
  readonly answer: AnswerView & { readonly body: string };
}

const cases = answers.cases as readonly AnswerVector[];

describe.each(providers)('vectors of answers with the $id provider', (crypto) => {
  const keyOf = async (text: string) => {
    const publicKey = fromBase64Url(text) as Uint8Array;
    const deviceId = await deviceIdOf(publicKey, crypto);
    return { deviceId, publicKey, key: await crypto.importPublicKey(publicKey) };
  };

  it.each(cases)('$name', async ({ proven, request, answer, ...known }) => {
    const { present = vectors.devices.target.publicKey, former = [] } = known;
    const { asksForPart = false, isConditional = false, method } = request;
    const nonce = await answerNonce(
      request.signatureBase,
      fromBase64Url(request.signature) as Uint8Array,
      crypto,
    );
    const expected = {
      method,
      nonce,
      nowMs: answers.now * 1000,
      asksForPart,
      isConditional,
      ...(await keyOf(present)),
      former: await Promise.all(former.map(keyOf)),
    };
    const head = await verifyAnswer(answer, expected, crypto);
    const body = Buffer.from(answer.body, 'base64');
    const isRight = async (digest: Uint8Array) => equalBytes(await crypto.sha256(body), digest);
    const isProven = typeof head !== 'string' && (head.digest === null || (await isRight(head.digest)));
    expect(isProven).toBe(proven);
  });
});

describe('signing', () => {
  it.each(
    cases.filter(({ proven, name }) => proven && !/weak|joined|order|more than|charset that/.test(name)),
  )('makes the same signature base: $name', ({ signatureBase, answer }) => {
    const [, parameters = ''] = /amesh=(\(.*)$/.exec(String(answer.headers['signature-input'])) ?? [];
    const covered = [...parameters.matchAll(/"([a-z-]+)"/g)].map(([, name]) => name as string);
    expect(createAnswerBase(answer, covered.slice(0, -1), parameters)).toBe(signatureBase);
  });
});
