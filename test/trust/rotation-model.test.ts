import { isAmeshError } from '@authmesh/sdk/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fromBase64Url } from '../../src/core/encoding';
import { addDevice, allowScopes, revokeDevice } from '../../src/trust/changes';
import { ListDraft } from '../../src/trust/format/draft';
import { PagedList } from '../../src/trust/format/paged-list';
import { findDevice } from '../../src/trust/look-up';
import {
  acceptSuccessor,
  proposeSuccessor,
  refuseSuccessor,
  retireFormer,
} from '../../src/trust/rotation/successor';
import { withdrawSuccessor } from '../../src/trust/rotation/withdraw';
import { times } from '../support/full';
import { emptyHead, newDevice } from '../support/list-document';
import { expectSame } from '../support/same';
import { NOW } from '../support/written-list';

/** How many histories are compared; AMESH_ROTATION_CASES for more than the suite has time for. */
const CASES = Number(process.env.AMESH_ROTATION_CASES ?? times(300, 10_000, 100_000));
const HOUR = 3600;
const OTHER = { ...newDevice('am_AAAAAAAAAAAAAAAA'), roles: ['target'] } as const;
const KEYS = Array.from({ length: 8 }, () => newDevice());
const idOf = (key: number) => (KEYS[key] as (typeof KEYS)[number]).deviceId;
const ALL = KEYS.map((_, key) => key);

type Step =
  | { readonly kind: 'rotate'; readonly by: number; readonly to: number; readonly accept: 'admin' | 'auto' }
  | { readonly kind: 'withdraw' | 'retire'; readonly by: number; readonly to: number }
  | { readonly kind: 'enrol' | 'accept' | 'refuse' | 'revoke' | 'allow'; readonly by: number }
  | { readonly kind: 'wait'; readonly hours: number };

interface Device {
  /** Its keys, the present one last. */
  keys: number[];
  /** The key that waits, and since when. */
  pending: { readonly key: number; readonly at: number } | null;
  /** Until when each former key counts. */
  readonly ends: Map<number, number>;
  /** All keys that it has had. */
  readonly had: Set<number>;
  readonly scopes: Set<string>;
}

/** The model. It knows nothing of the code. */
class Model {
  now = NOW;
  devices: Device[] = [];
  dead = new Map<number, number>();
  /** The keys that were buried since the last hour: what still names them was on its way. */
  recent = new Set<number>();
  count = 0;
  of = (key: number) => this.devices.find(({ had, pending }) => had.has(key) || pending?.key === key);
  may(key: number): Device | null {
    const device = this.devices.find(({ keys }) => keys.includes(key));
    const later = device?.keys.slice(device.keys.indexOf(key), -1) ?? [];
    return device && later.every((each) => (device.ends.get(each) ?? 0) >= this.now) ? device : null;
  }
  bury(keys: Iterable<number>): void {
    for (const key of keys) {
      this.dead.set(key, this.now + 25 * HOUR);
      this.recent.add(key);
    }
  }
  accept(device: Device | undefined): void {
    if (!device?.pending) return;
    device.ends.set(device.keys.at(-1) as number, this.now + 720 * HOUR);
    device.keys.push(device.pending.key);
    device.had.add(device.pending.key);
    device.pending = null;
  }
  remove(device: Device): void {
    this.devices = this.devices.filter((each) => each !== device);
    this.bury([...device.had, ...(device.pending ? [device.pending.key] : [])]);
  }
  rotate(by: number, to: number, accept: string): void {
    const device = this.may(by);
    if (!device) return;
    const next = device.keys[device.keys.indexOf(by) + 1] ?? device.pending?.key;
    if (next === undefined) {
      if (this.of(to) || this.dead.has(to)) return;
      device.pending = { key: to, at: this.now };
    } else if (next !== to) {
      if (this.recent.has(to)) return;
      this.remove(device);
      this.dead.set(by, this.now + 720 * HOUR); // so that people see why
      return;
    }
    if (accept === 'auto' && device.pending?.key === to) this.accept(device);
  }
  withdraw(by: number, to: number): void {
    const device = this.may(by);
    if (!device) return;
    const later = device.keys.slice(device.keys.indexOf(by) + 1);
    if (device.pending) later.push(device.pending.key);
    if (!later.includes(to)) return;
    this.bury(later);
    device.keys = device.keys.filter((key) => !later.includes(key));
    for (const key of later) device.had.delete(key);
    device.ends.delete(by);
    device.pending = null;
  }
  retire(by: number, to: number): void {
    const device = this.may(by);
    if (!device || device.keys[device.keys.indexOf(by) + 1] !== to) return;
    const end = this.now + 25 * HOUR;
    device.ends.set(by, Math.min(end, device.ends.get(by) ?? end));
  }
  wait(hours: number): void {
    this.now += hours * HOUR;
    this.recent.clear();
    for (const [key, until] of this.dead) if (until <= this.now) this.dead.delete(key);
    for (const device of this.devices)
      if (device.pending && device.pending.at + 745 * HOUR < this.now) device.pending = null;
  }
  take(step: Step): void {
    if (step.kind === 'wait') {
      this.wait(step.hours);
      return;
    }
    const device = this.of(step.by);
    if (step.kind === 'rotate') this.rotate(step.by, step.to, step.accept);
    if (step.kind === 'withdraw') this.withdraw(step.by, step.to);
    if (step.kind === 'retire') this.retire(step.by, step.to);
    if (step.kind === 'accept') this.accept(device);
    if (step.kind === 'refuse' && device?.pending) {
      this.dead.set(device.pending.key, this.now + 720 * HOUR + 300); // as long as a statement may count
      this.recent.add(device.pending.key);
      device.pending = null;
    }
    if (step.kind === 'revoke' && device) this.remove(device);
    if (step.kind === 'allow' && device) device.scopes.add(`s:${this.count++}`);
    if (step.kind === 'enrol' && !device) {
      this.dead.delete(step.by);
      this.recent.delete(step.by);
      const had = new Set([step.by]);
      this.devices.push({ keys: [step.by], pending: null, ends: new Map(), had, scopes: new Set() });
    }
  }
}

/** The same with the real list, changed as servers and the command line change it. */
class Machine {
  now = NOW;
  count = 0;
  list = new PagedList(emptyHead(), '', []);

  async take(step: Step): Promise<void> {
    if (step.kind === 'wait') this.now += step.hours * HOUR;
    await this.#change(async (draft) => {
      // So that the only part of the list is written, and forgets what is over.
      await draft.put({ ...OTHER, friendlyName: `${this.now}` });
      await this.#apply(draft, step).catch((error) => {
        if (!isAmeshError(error) || !['unknown_name', 'no_rotation'].includes(error.code)) throw error;
      });
    });
  }

  may(key: number): readonly string[] | null {
    const device = this.list.find(idOf(key));
    if (!device?.roles.includes('controller')) return null;
    return (device.expiresAt ?? this.now) < this.now ? null : (device.scopes ?? []);
  }

  async #apply(draft: ListDraft, step: Step): Promise<unknown> {
    if (step.kind === 'wait') return;
    const { now } = this;
    const id = idOf(step.by);
    if (step.kind === 'enrol') {
      const known = await draft.device(id);
      if (known !== undefined) return;
      const { friendlyName, publicKey } = KEYS[step.by] as (typeof KEYS)[number];
      return addDevice(draft, { deviceId: id, publicKey, friendlyName, role: 'controller', hosts: [] }, now);
    }
    if ('to' in step) return this.may(step.by) && this.#ask(draft, step);
    const { deviceId } = findDevice(this.list, id);
    if (step.kind === 'accept') return acceptSuccessor(draft, deviceId, now);
    if (step.kind === 'refuse') return refuseSuccessor(draft, deviceId, now);
    if (step.kind === 'revoke') return revokeDevice(draft, deviceId, now);
    return allowScopes(draft, deviceId, [`s:${this.count++}`]);
  }

  /** What a request of a device asks for, once it was verified. */
  async #ask(draft: ListDraft, step: Extract<Step, { to: number }>): Promise<unknown> {
    const [formerId, nextId] = [idOf(step.by), idOf(step.to)];
    if (step.kind !== 'rotate') {
      const change = step.kind === 'withdraw' ? withdrawSuccessor : retireFormer;
      return change(draft, formerId, nextId, this.now);
    }
    const keyOf = (key: number) => fromBase64Url(KEYS[key]?.publicKey ?? '') as Uint8Array;
    const rotation = { formerId, nextId, formerKey: keyOf(step.by), nextKey: keyOf(step.to) };
    return proposeSuccessor(
      draft,
      { ...rotation, targetId: 'am_OOOOOOOOOOOOOOOO', issuedAt: this.now, text: '' },
      { accept: step.accept, isWorkingKey: () => false, nowSeconds: this.now },
    );
  }

  async #change(apply: (draft: ListDraft) => Promise<unknown>): Promise<void> {
    const noPage = () => Promise.reject(new Error('It has no pages.'));
    const draft = new ListDraft(this.list.head, noPage, this.now);
    await apply(draft);
    const { head } = await draft.finish();
    const toPage = ({ prefix, content }: (typeof head.pages)[number]) => {
      const lines = (content as unknown[]).map((line) => `${JSON.stringify(line)}\n`).join('');
      return { prefix, hash: null, content: { bytes: new TextEncoder().encode(lines) } };
    };
    this.list = new PagedList(head, '', head.pages.map(toPage));
  }
}

const key = fc.constantFrom(...ALL);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('rotate' as const),
      by: key,
      to: key,
      accept: fc.constantFrom('admin' as const, 'auto' as const),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('withdraw' as const, 'retire' as const), by: key, to: key }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('enrol' as const, 'accept' as const, 'refuse' as const, 'allow' as const),
      by: key,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke' as const), by: key }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      hours: fc.constantFrom(1, 24, 26, 300, 719, 745, 800),
    }),
  },
);

/** What would rather happen than a step whose keys do not fit: most random ones would do nothing. */
function fitting(model: Model, given: Step): Step {
  if (!('to' in given) || given.to === 0) return given;
  const by = model.may(given.by) ? given.by : (model.devices[0]?.keys.at(-1) ?? given.by);
  const device = model.may(by);
  const later = device?.keys.slice(device.keys.indexOf(by) + 1) ?? [];
  // A withdrawal may name any key that followed.
  const next = (given.kind === 'withdraw' ? later.at(-1) : later[0]) ?? device?.pending?.key;
  const unused = ALL.find((each) => !model.of(each) && !model.dead.has(each));
  // Now and then a former key that has ended, and whose entry has left the list.
  const isOver = (each: number) => (device?.ends.get(each) ?? model.now) + 25 * HOUR < model.now;
  const ended = given.to <= 2 ? device?.keys.find(isOver) : undefined;
  return { ...given, by, to: next ?? ended ?? unused ?? given.to };
}

it(`${CASES} histories of rotations match the model`, { timeout: 3_600_000 }, async () => {
  const seen = new Map<string, number>();
  let reused = 0; // a device has named a key that it once had, and that has left the list
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const model = new Model();
      const machine = new Machine();
      for (const given of [{ kind: 'enrol', by: 0 } as const, ...steps]) {
        const taken = fitting(model, given);
        // An ID that a device had and that has left the list may be added as another device. No owner of a key does that.
        const isOld = (each: number) => {
          const device = model.of(each);
          return device !== undefined && machine.list.entry(idOf(each)) === undefined;
        };
        if (taken.kind === 'enrol' && isOld(taken.by)) continue;
        if (taken.kind === 'rotate' && isOld(taken.to)) {
          const device = model.of(taken.to);
          if (model.may(taken.by) !== device) continue;
          if (device?.keys.at(-1) === taken.by && !device.pending) reused++;
        }
        if (taken.kind === 'enrol' && model.of(taken.by)?.pending?.key === taken.by) continue;
        model.take(taken);
        await machine.take(taken);
        for (const each of ALL) {
          const device = model.may(each);
          const expected = device && [...device.scopes].sort();
          expectSame([taken, each, machine.may(each)], [taken, each, expected]);
        }
        const longest = Math.max(0, ...model.devices.map(({ keys }) => keys.length));
        seen.set(`${taken.kind} ${longest}`, (seen.get(`${taken.kind} ${longest}`) ?? 0) + 1);
      }
    }),
    { numRuns: CASES },
  );
  for (const kind of ['rotate', 'withdraw', 'retire', 'accept', 'refuse', 'revoke', 'allow', 'wait'])
    expect(seen.get(`${kind} 3`) ?? 0).toBeGreaterThan(0);
  expect(reused).toBeGreaterThan(0);
});
