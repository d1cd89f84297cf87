import { createAmesh } from '@authmesh/sdk';
import { type DeviceEntry, type ListHead, openDevice } from '@authmesh/sdk/admin';
import { describe, expect, it, vi } from 'vitest';
import type { AllowList, TrustedDevice } from '../../src/core/devices/allow-list';
import { CallerEnds } from '../../src/machine/ends/caller-ends';
import { EndWatch } from '../../src/machine/ends/end-watch';
import { ListDraft } from '../../src/trust/format/draft';
import { loadPages } from '../../src/trust/format/load-pages';
import { PagedList } from '../../src/trust/format/paged-list';
import { useMachines } from '../cli/amesh';
import { callsOf } from '../support/calls-of';
import { changeDevices, emptyHead, newDevice } from '../support/list-document';
import { listen } from '../support/listen';

const createMachine = useMachines();

const NOW = 1_764_000_000;
const DAY = 86_400;

/** A list of pages in memory, some of which are not there. */
async function toList(
  devices: readonly DeviceEntry[],
  { missing = (_: string): boolean => false, grants = [] as never[] } = {},
) {
  const draft = new ListDraft(emptyHead({ grants }), () => Promise.reject(), NOW);
  for (const device of devices) await draft.put(device);
  const { head, write } = await draft.finish();
  const list = async (isMissing: (prefix: string) => boolean) => {
    const prefixOf = new Map(head.pages.map(({ prefix, content }) => [content as string, prefix]));
    const read = async (hashes: readonly string[]) =>
      hashes.map((hash) => (isMissing(prefixOf.get(hash) as string) ? null : (write.get(hash) ?? null)));
    return new PagedList(head as ListHead, '', await loadPages(head, [], read));
  };
  return { list: await list(missing), whole: () => list(() => false) };
}

const ending = (name: string, days: number): DeviceEntry => ({
  ...newDevice(),
  friendlyName: name,
  expiresAt: NOW + days * DAY,
});
const leased = (name: string, days: number, lifeDays: number, more: object = {}): DeviceEntry => ({
  ...newDevice(),
  friendlyName: name,
  addedAt: NOW + (days - lifeDays) * DAY,
  lease: { grant: 'gone', expiresAt: NOW + DAY / 2, endsAt: NOW + days * DAY, ...more },
});

/** A watch whose clock is set in days from now. */
function watch(list: AllowList) {
  const told: string[] = [];
  const of = { current: list, pauses: 0, day: 0 };
  const ends = new EndWatch({
    list: { current: () => of.current },
    tell: (line) => void told.push(line),
    now: () => (NOW + of.day * DAY) * 1000,
    pause: async () => void of.pauses++,
  });
  const look = async (day: number) => {
    of.day = day;
    told.length = 0;
    await ends.look();
    return [...told];
  };
  return { look, of };
}

describe('a server warns of ends', () => {
  it('14, 7 and 1 days before, once each, whether or not the device calls', async () => {
    const device = ending('laptop', 20);
    const { look } = watch((await toList([device, ending('later', 90), newDevice()])).list);
    expect(await look(0)).toEqual([]);
    expect(await look(5.9)).toEqual([]);
    const line = (days: string) =>
      `The trust in a device ends within ${days}: "laptop" (${device.deviceId}) on 2025-12-14 16:00 UTC. See: amesh list --expires ${days.split(' ')[0]}d. To move an end: amesh allow ID --expires 90d`;
    expect(await look(6)).toEqual([line('14 days')]);
    for (const day of [6, 6.1, 7, 12.9]) expect(await look(day)).toEqual([]);
    expect(await look(13)).toEqual([line('7 days')]);
    expect(await look(18.9)).toEqual([]);
    expect(await look(19.5)).toEqual([line('1 day')]);
    for (const day of [19.6, 20, 20.1, 40]) expect(await look(day)).toEqual([]);
  });

  it('at the start, of all that end soon, in one line for each number of days', async () => {
    const devices = [
      ...Array.from({ length: 300 }, (_, i) => ending(`d${i}`, 3)),
      ending('other', 10),
      ending('over', -1),
    ];
    const { look } = watch((await toList(devices)).list);
    const lines = await look(0);
    expect(lines).toEqual([
      expect.stringMatching(/^The trust in a device ends within 14 days: "other" \(am_/),
      expect.stringMatching(
        /^The trust in devices ends within 7 days: ("d\d+" \(am_.{16}\) on [^,]+, ){4}"d\d+" .* and 295 more\. See/,
      ),
    ]);
  });

  it('of a lease, before its last end: use extends the other one', async () => {
    const grant = {
      id: 'g',
      publicKey: '',
      names: '*',
      uses: 1,
      used: 1,
      issuedAt: 0,
      expiresAt: 0,
      leaseSeconds: 60,
    };
    const { list } = await toList(
      [
        leased('month', 20, 30),
        leased('week', 5, 7),
        leased('day', 0.9, 1),
        leased('again', 5, 400, { grant: 'g' }),
        { ...leased('both', 20, 30), expiresAt: NOW + 6 * DAY },
        { ...leased('target', 3, 30), roles: ['target'] },
      ],
      { grants: [{ ...grant, maxLeaseSeconds: 6 * DAY } as never] },
    );
    const { look } = watch(list);
    const toldAt = async (day: number) =>
      (await look(day)).map((line) => line.replace(/ \(am_[^)]*\) on [^,.]*/g, '').replace(/\. See.*/, ''));
    expect(await toldAt(0)).toEqual(['The trust in a device ends within 7 days: "both"']);
    expect(await toldAt(4)).toEqual([
      expect.stringMatching(/^Leases end for good within 1 day: (?:"week", "again"|"again", "week")$/),
    ]);
    expect(await toldAt(6)).toEqual([
      'A lease ends for good within 14 days: "month"',
      'The trust in a device ends within 1 day: "both"',
    ]);
  });

  it('of what is on a page that was missing, once the page is there', async () => {
    const devices = Array.from({ length: 600 }, (_, i) => ending(`d${i}`, 3));
    const pages = await toList(devices, { missing: (prefix) => prefix.startsWith('0') });
    const isLost = (device: DeviceEntry) => {
      try {
        return pages.list.find(device.deviceId) === undefined;
      } catch {
        return true;
      }
    };
    const lost = devices.filter(isLost).length;
    expect(lost).toBeGreaterThan(0);
    const { look, of } = watch(pages.list);
    const counts = (lines: string[]) => lines.map((line) => 5 + Number(/and (\d+) more/.exec(line)?.[1]));
    expect(counts(await look(0))).toEqual([600 - lost]);
    expect(await look(0.1)).toEqual([]);
    of.current = await pages.whole();
    expect(counts(await look(0.2))).toEqual([lost]);
    expect(await look(0.3)).toEqual([]);
  });

  it('in slices, between which requests continue', async () => {
    // Each page is looked through in much less than a slice.
    const devices = [ending('laptop', 3), ...Array.from({ length: 30_000 }, () => newDevice())];
    const { look, of } = watch((await toList(devices)).list);
    expect(await look(0)).toHaveLength(1);
    expect(of.pauses).toBeGreaterThan(0);
  });

  it('not twice if its clock is set back, and not at all without a list', async () => {
    const { look, of } = watch((await toList([ending('laptop', 20)])).list);
    expect(await look(10)).toHaveLength(1);
    expect(await look(2)).toEqual([]);
    expect(await look(10.1)).toHaveLength(1); // told again rather than not at all
    of.current = { find: () => undefined } as never;
    expect(await look(19.5)).toEqual([]);
  });

  it('soon after it starts to listen', async () => {
    const machine = await createMachine('api');
    const { trust } = await openDevice(machine.dir, {});
    await trust.update((draft) => draft.put(newDevice(undefined, 'quiet')));
    const expiresAt = Math.floor(Date.now() / 1000) + 3 * DAY;
    await changeDevices(trust, (device) => ({ ...device, expiresAt }));
    const logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const verify = createAmesh({ dir: machine.dir, env: {} }).verify();
    const server = await listen((request, response) => verify(request, response, () => response.end()));
    try {
      await vi.waitFor(() => {
        // Servers of other files in this process may log something, too.
        const lines = callsOf(logged).map(([line]) => String(line));
        expect(lines.filter((line) => line.includes('"quiet"'))).toEqual([
          expect.stringMatching(/^amesh: The trust in a device ends within 7 days: "quiet" \(am_/),
        ]);
      }, 20_000);
    } finally {
      await server.close();
      logged.mockRestore();
    }
  });
});

describe('a verifier without files warns of ends', () => {
  it('14, 7 and 1 days before, once each, when the device calls', async () => {
    const devices = [ending('laptop', 20), leased('month', 20, 30), newDevice()];
    const { list } = await toList(devices);
    const told: string[] = [];
    const ends = new CallerEnds((line) => void told.push(line));
    const toldAt = (day: number) => {
      told.length = 0;
      for (const { deviceId } of devices)
        ends.note(list, list.find(deviceId) as TrustedDevice, (NOW + day * DAY) * 1000);
      return told.map((line) => line.replace(/ \(am_[^)]*\) on [^,.]*/g, '').replace(/\. See.*/, ''));
    };
    const both = (days: string) => [
      `The trust in a device ends within ${days}: "laptop"`,
      `A lease ends for good within ${days}: "month"`,
    ];
    expect(toldAt(0)).toEqual([]);
    expect(toldAt(6)).toEqual(both('14 days'));
    for (const day of [6, 6.01, 7, 12.9]) expect(toldAt(day)).toEqual([]);
    expect(toldAt(13)).toEqual(both('7 days'));
    expect(toldAt(19.5)).toEqual(both('1 day'));
    expect(toldAt(19.6)).toEqual([]);
    expect(toldAt(6)).toEqual([]); // its clock is set back
    expect(toldAt(13.1)).toEqual(both('7 days')); // told again rather than not at all
    ends.note({ hosts: [], deviceId: null, find: () => undefined } as never, { expiresAt: 1 } as never, 0);
  });
});
