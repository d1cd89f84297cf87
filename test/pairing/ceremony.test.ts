import { describe, expect, it } from 'vitest';
import { holdCeremony, newParty } from '../support/ceremony';

describe('amesh-pair/1', () => {
  it('lets two machines trust each other, one way', async () => {
    const outcome = await holdCeremony();
    expect(outcome).toMatchObject({
      states: { controller: 'paired', target: 'paired' },
      saved: { controller: ['prod-api'], target: ['laptop'] },
      failures: { controller: undefined, target: undefined },
      confirmed: true,
    });
    expect(outcome.codes.shown).toMatch(/^\d{6}$/);
    expect(outcome.codes.verified).toBe(outcome.codes.shown);
  });

  it('accepts the code with a gap, and allows three tries', async () => {
    const wrong = (shown: string) => (shown === '000000' ? '000001' : '000000');
    const gap = (shown: string) => `${shown.slice(0, 3)} ${shown.slice(3)}`;
    expect((await holdCeremony({ types: (shown) => [gap(shown)] })).states.target).toBe('paired');
    expect(
      (await holdCeremony({ types: (shown) => [wrong(shown), wrong(shown), shown] })).states.target,
    ).toBe('paired');
    const outcome = await holdCeremony({
      types: (shown) => [wrong(shown), wrong(shown), wrong(shown), shown],
    });
    expect(outcome).toMatchObject({
      failures: { target: 'codes_differ' },
      saved: { controller: [], target: [] },
    });
  });

  it('ends with a no, and nothing has changed', async () => {
    const outcome = await holdCeremony({ says: () => false });
    expect(outcome).toMatchObject({
      failures: { controller: 'declined' },
      saved: { controller: [], target: [] },
    });
  });

  it('does not pair a device with itself', async () => {
    const party = await newParty('controller', 'both');
    const target = { ...party, own: { ...party.own, role: 'target' as const } };
    const outcome = await holdCeremony({ controller: party, target });
    expect(outcome).toMatchObject({ failures: { target: 'own_key' }, saved: { controller: [], target: [] } });
  });

  it('fails if the two sides have other codes', async () => {
    const outcome = await holdCeremony({ controller: { code: '111111' } });
    expect(outcome).toMatchObject({
      failures: { target: 'tampered' },
      saved: { controller: [], target: [] },
    });
  });
});
