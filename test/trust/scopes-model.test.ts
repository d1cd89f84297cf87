import { type AllowListSource, createVerifier, isAmeshError, type Verifier } from '@authmesh/sdk/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { authorize } from '../../src/core/verify/device';
import { allowScopes, denyScopes, revokeDevice } from '../../src/trust/changes';
import { ListDraft } from '../../src/trust/format/draft';
import { PagedList } from '../../src/trust/format/paged-list';
import { NOW, signed } from '../support/core';
import { times } from '../support/full';
import { emptyHead } from '../support/list-document';
import { vectors } from '../support/vectors';

/** How many requests are judged; AMESH_SCOPE_CASES for more than the suite has time for. */
const CASES = Number(process.env.AMESH_SCOPE_CASES ?? times(2000, 10_000, 100_000));
const REQUESTS_EACH = 20;

type Step =
  | { readonly kind: 'allow'; readonly patterns: readonly string[]; readonly days: number | undefined }
  | { readonly kind: 'deny'; readonly patterns: readonly string[] }
  | { readonly kind: 'revoke' | 'pair' }
  | { readonly kind: 'wait'; readonly days: number };

/** The model. It knows nothing of the code. */
class Model {
  device: { patterns: readonly string[]; endsAt: number } | null = null;
  now = 0;
  static has(patterns: readonly string[], scope: string): boolean {
    return patterns.some((each) => new RegExp(`^${each.replace('*', '.+')}$`).test(scope));
  }
  take(step: Step): void {
    const { device } = this;
    if (step.kind === 'wait') this.now += step.days;
    if (step.kind === 'revoke') this.device = null;
    if (step.kind === 'pair') this.device ??= { patterns: [], endsAt: Number.POSITIVE_INFINITY };
    if (device && step.kind === 'allow') {
      const endsAt = step.days === undefined ? device.endsAt : this.now + step.days;
      this.device = { patterns: [...device.patterns, ...step.patterns], endsAt };
    }
    if (device && step.kind === 'deny') {
      const kept = device.patterns.filter((each) => !Model.has(step.patterns, each));
      if (!step.patterns.some((each) => Model.has(kept, each))) this.device = { ...device, patterns: kept };
    }
  }
  judge(required: readonly string[]): string {
    if (this.device === null) return 'unknown_device';
    if (this.now > this.device.endsAt) return 'device_expired';
    const { patterns } = this.device;
    const missing = required.find((scope) => !Model.has(patterns, scope));
    return missing === undefined ? 'accepted' : `scope_missing ${missing}`;
  }
}

const DAY = 86_400;
const BODY = new TextEncoder().encode('x');
const { deviceId, publicKey } = vectors.devices.controller;

/** The same with the real list: each step is a change of it, as the command line makes it. */
class Machine implements AllowListSource {
  now = NOW;
  #head = emptyHead({ hosts: ['api.example.com'] });
  #list = new PagedList(this.#head, '', []);

  current(): PagedList {
    return this.#list;
  }

  async take(step: Step): Promise<void> {
    if (step.kind === 'wait') this.now += step.days * DAY;
    else await this.#change((draft) => this.#apply(draft, step));
  }

  async #apply(draft: ListDraft, step: Exclude<Step, { kind: 'wait' }>): Promise<unknown> {
    if (step.kind === 'revoke') return revokeDevice(draft, deviceId, this.now);
    if (step.kind === 'deny') return denyScopes(draft, deviceId, step.patterns);
    if (step.kind === 'allow') {
      const end = step.days === undefined ? undefined : this.now + step.days * DAY;
      return allowScopes(draft, deviceId, step.patterns, end);
    }
    if ((await draft.device(deviceId)) !== undefined) return;
    const roles = ['controller'] as const;
    return draft.put({ deviceId, publicKey, friendlyName: 'c', roles, hosts: [], addedAt: this.now });
  }

  async #change(apply: (draft: ListDraft) => Promise<unknown>): Promise<void> {
    const draft = new ListDraft(this.#head, () => Promise.reject(new Error('It has no pages.')), this.now);
    try {
      await apply(draft);
    } catch (error) {
      if (isAmeshError(error) && ['unknown_name', 'scope_still_covered'].includes(error.code)) return;
      throw error;
    }
    this.#head = (await draft.finish()).head;
    const pages = this.#head.pages.map(({ prefix, content }) => ({
      prefix,
      hash: null,
      content: {
        bytes: new TextEncoder().encode(
          (content as unknown[]).map((line) => `${JSON.stringify(line)}\n`).join(''),
        ),
      },
    }));
    this.#list = new PagedList(this.#head, '', pages);
  }
}

const scope = fc.constantFrom('a', 'a:b', 'a:b:c', 'ab', 'b', 'b:c');
const pattern = fc.oneof(scope, fc.constantFrom('*', 'a:*', 'a:b:*', 'b:*'));
const patterns = fc.uniqueArray(pattern, { minLength: 1, maxLength: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('allow' as const), patterns, days: fc.constant(undefined) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('allow' as const),
      patterns,
      days: fc.integer({ min: 0, max: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('deny' as const), patterns }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('pair' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), days: fc.integer({ min: 1, max: 2 }) }),
  },
);
const required = fc.array(scope, { maxLength: 3 });
/** Steps, and then a request, during whose body other steps may be taken. */
const request = fc.record({
  before: fc.array(step, { maxLength: 2 }),
  required,
  during: fc.array(step, { maxLength: 1 }),
});

it(`verify() and authorize() judge ${CASES} requests as the model does`, { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: REQUESTS_EACH, maxLength: REQUESTS_EACH }),
      async (requests) => {
        const model = new Model();
        machine = new Machine();
        const both = async (steps: readonly Step[]) => {
          for (const each of steps) {
            model.take(each);
            await machine.take(each);
          }
        };
        await both([{ kind: 'pair' }]);
        for (const { before, required, during } of requests) {
          await both(before);
          let expected = model.judge(required);
          const judged = authorize(machine.current(), deviceId, required, machine.now * 1000);
          expect('facts' in judged ? codeOf(judged.facts) : 'accepted').toBe(expected);

          const steps = during.filter(({ kind }) => kind !== 'wait');
          const verdict = await verify(required, async () => {
            await both(steps);
            return BODY;
          });
          if (expected === 'accepted') expected = model.judge(required);
          expect(verdict).toBe(expected);
        }
      },
    ),
    { numRuns: Math.ceil(CASES / REQUESTS_EACH) },
  );
});

/** One verifier for each `require`, over the machine of the moment. */
let machine = new Machine();
let scopeMissing: string | undefined;
const verifiers = new Map<string, Verifier<never>>();
const requests = new Map<number, ReturnType<typeof signed>>();

async function verify(required: readonly string[], slowBody: () => Promise<Uint8Array>): Promise<string> {
  const key = String(required);
  const verifier =
    verifiers.get(key) ??
    createVerifier({
      allowList: { current: () => machine.current() },
      now: () => machine.now * 1000,
      nonceStore: { claim: () => true }, // the same request again and again
      ...(required.length > 0 && { require: required }),
      onRefusal({ scope }) {
        scopeMissing = scope;
      },
    });
  verifiers.set(key, verifier);
  const created = machine.now;
  const signing = requests.get(created) ?? signed({ method: 'POST', body: BODY }, { created });
  requests.set(created, signing);
  scopeMissing = undefined;
  const verdict = await verifier.verify({ ...(await signing), body: slowBody });
  return verdict.ok ? 'accepted' : codeOf({ code: verdict.code, scope: scopeMissing });
}

function codeOf({ code, scope }: { readonly code: string; readonly scope?: string | undefined }): string {
  return scope === undefined ? code : `${code} ${scope}`;
}
