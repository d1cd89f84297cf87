import {
  type AllowList,
  createAllowList,
  createVerifier,
  signRequest,
  type Verifier,
} from '@authmesh/sdk/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { NOW, signerOf } from '../support/core';
import { times } from '../support/full';
import { type Worker, workerOf } from '../support/statements';
import { vectors } from '../support/vectors';

/** How many requests are judged; AMESH_DELEGATE_CASES for more than the suite has time for. */
const CASES = Number(process.env.AMESH_DELEGATE_CASES ?? times(1_000, 5_000, 100_000));
const REQUESTS_EACH = 20;

const SCOPES = ['a', 'a:b', 'a:b:c', 'a:bc', 'ab', 'b', 'b:c'];
const { controller, target, stranger } = vectors.devices;

interface Lent {
  readonly scopes: readonly string[];
  readonly isForUs: boolean;
  /** Seconds from now on. */
  readonly from: number;
  readonly for: number;
}

type Step =
  | { readonly kind: 'lend'; readonly lent: Lent }
  | { readonly kind: 'set'; readonly patterns: readonly string[] }
  | { readonly kind: 'revoke' | 'pair' | 'cut' }
  | { readonly kind: 'end'; readonly which: number }
  | { readonly kind: 'wait'; readonly seconds: number };

interface Delegation extends Lent {
  readonly at: number;
  readonly worker: Worker;
}

/** The model: what a delegate may do at one moment. It shares no code with the verifier. */
class Model {
  now = NOW;
  isPaired = true;
  cutAt = 0;
  patterns: readonly string[] = [];
  readonly delegations: Delegation[] = [];
  readonly ended = new Set<Delegation>();

  static has(patterns: readonly string[], scope: string): boolean {
    return patterns.some((each) => new RegExp(`^${each.replace('*', '.+')}$`).test(scope));
  }

  may(delegation: Delegation, scope: string): boolean {
    return Model.has(this.patterns, scope) && Model.has(delegation.scopes, scope);
  }

  judge(delegation: Delegation, required: readonly string[], takesDelegates: boolean): string {
    const [begins, ends] = lifeOf(delegation);
    const isCut = begins < this.cutAt;
    const isOver = this.now < begins || this.now > ends;
    if (!this.isPaired) return 'unknown_device';
    if (isOver || isCut || !delegation.isForUs) return 'key_statement_invalid';
    if (this.ended.has(delegation)) return 'delegate_revoked';
    if (!takesDelegates) return 'delegate_not_allowed';
    const missing = required.find((scope) => !this.may(delegation, scope));
    return missing === undefined ? 'accepted' : `scope_missing ${missing}`;
  }
}

const lifeOf = ({ at, from, for: seconds }: Delegation): [number, number] => [at + from, at + from + seconds];

let list: AllowList;
let nowMs: number;
let missing: string | undefined;
const verifiers = new Map<string, Verifier<never>>();

function verifierFor(require: readonly string[], delegates: boolean | undefined): Verifier<never> {
  const key = JSON.stringify([require, delegates]);
  const known = verifiers.get(key);
  if (known !== undefined) return known;
  const created = createVerifier({
    allowList: { current: () => list },
    now: () => nowMs,
    nonceStore: { claim: () => true },
    ...(require.length > 0 && { require }),
    delegates,
    onRefusal({ scope }) {
      missing = scope;
    },
  });
  verifiers.set(key, created);
  return created;
}

async function take(model: Model, step: Step): Promise<void> {
  if (step.kind === 'wait') model.now += step.seconds;
  if (step.kind === 'revoke' || step.kind === 'pair') model.isPaired = step.kind === 'pair';
  if (step.kind === 'cut') model.cutAt = model.now;
  if (step.kind === 'set') model.patterns = step.patterns;
  if (step.kind === 'end' && model.delegations.length > 0)
    model.ended.add(model.delegations[step.which % model.delegations.length] as Delegation);
  if (step.kind === 'lend') {
    const { scopes, isForUs, from, for: seconds } = step.lent;
    const targets = [isForUs ? target.deviceId : stranger.deviceId];
    const issuedAt = model.now + from;
    const delegation = { name: 'agent', scopes: [...scopes].sort(), targets };
    const worker = await workerOf({ issuedAt, expiresAt: issuedAt + seconds, delegation });
    model.delegations.push({ ...step.lent, at: model.now, worker });
  }
}

function listOf({ isPaired, patterns, cutAt, ended }: Model): AllowList {
  const { deviceId, publicKey } = controller;
  const device = { deviceId, publicKey, friendlyName: 'c', roles: ['controller'] as const };
  return createAllowList({
    deviceId: target.deviceId,
    hosts: ['api.example.com'],
    devices: isPaired ? [{ ...device, scopes: patterns, keysSince: cutAt }] : [],
    endedDelegations: [...ended].map(({ worker }) => worker.claims.id),
  });
}

const scope = fc.constantFrom(...SCOPES);
const pattern = fc.oneof(scope, fc.constantFrom('*', 'a:*', 'a:b:*', 'b:*'));
const patterns = fc.uniqueArray(pattern, { minLength: 1, maxLength: 3 });
const lent = fc.record({
  scopes: patterns,
  isForUs: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, fc.constant(false)),
  from: fc.oneof({ weight: 9, arbitrary: fc.constant(-300) }, fc.integer({ min: -10, max: 10 })),
  for: fc.oneof(
    { weight: 9, arbitrary: fc.integer({ min: 300, max: 86_400 }) },
    fc.integer({ min: 1, max: 20 }),
  ),
});
const simple = (kind: 'revoke' | 'pair' | 'cut') => fc.record({ kind: fc.constant(kind) });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('lend' as const), lent }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('set' as const), patterns }) },
  { weight: 4, arbitrary: simple('pair') },
  simple('revoke'),
  simple('cut'),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat(9) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 400 }) }),
  },
);
const request = fc.record({
  before: fc.array(step, { maxLength: 2 }),
  which: fc.nat(9),
  required: fc.array(scope, { maxLength: 2 }),
  delegates: fc.constantFrom(undefined, true, false),
  /** Steps while its body arrives. */
  during: fc.array(step, { maxLength: 1 }),
});

const BODY = new TextEncoder().encode('x');

it(`a delegate never has more than its statement and its device, in ${CASES} requests`, {
  timeout: 1_800_000,
}, async () => {
  await signerOf('controller');
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(
      lent,
      fc.array(request, { minLength: REQUESTS_EACH, maxLength: REQUESTS_EACH }),
      async (first, requests) => {
        const model = new Model();
        const run = async (steps: readonly Step[]) => {
          for (const each of steps) await take(model, each);
          list = listOf(model);
          nowMs = model.now * 1000;
        };
        await run([
          { kind: 'lend', lent: { ...first, isForUs: true } },
          { kind: 'set', patterns: ['*'] },
        ]);
        for (const { before, which, required, delegates, during } of requests) {
          await run(before);
          const delegation = model.delegations[which % model.delegations.length] as Delegation;
          const takesDelegates = delegates ?? required.length > 0;
          let expected = model.judge(delegation, required, takesDelegates);
          const view = { method: 'POST', target: '/', authority: 'api.example.com', headers: {}, body: BODY };
          const signed = await signRequest(view, delegation.worker.signer, { created: model.now });
          missing = undefined;
          const verdict = await verifierFor(required, delegates).verify({
            ...signed,
            body: async () => {
              await run(during);
              return BODY;
            },
          });
          if (expected === 'accepted') expected = model.judge(delegation, required, takesDelegates);
          const got = verdict.ok ? 'accepted' : [verdict.code, missing].filter(Boolean).join(' ');
          expect(got).toBe(expected);
          if (!verdict.ok) continue;
          accepted++;
          for (const each of SCOPES)
            expect(Model.has(verdict.caller.scopes, each), each).toBe(model.may(delegation, each));
        }
      },
    ),
    { numRuns: Math.ceil(CASES / REQUESTS_EACH) },
  );
  expect(accepted).toBeGreaterThan(CASES / 50); // else it would show nothing; about 1 in 17 is
});
