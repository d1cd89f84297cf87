import { describe, expect, it } from 'vitest';
import { type Machine, objectOf, useMachines } from './amesh';

const createMachine = useMachines();

/** What `amesh doctor` finds about answers. */
async function answersIn(machine: Machine, env: Record<string, string>) {
  const { checks } = objectOf(await machine.amesh(['doctor', '--json'], { env })) as {
    checks: { check: string; state: string; message: string }[];
  };
  return checks.filter(({ check }) => check === 'answers').map(({ state, message }) => `${state} ${message}`);
}

describe('amesh answer-key', () => {
  it('prints only the secret on stdout, and what it can do on stderr', async () => {
    const owner = await createMachine();
    const { deviceId, publicKey } = await owner.init('orders-api');
    const ran = await owner.amesh(['answer-key', '--for', '30d']);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toMatch(/^amesh_answer_key_[\w-]{43}\.eyJ[\w-]+\.[\w-]+\.[\w-]{86}\n$/);
    expect(ran.stderr).toContain(`signs answers in the name of ${deviceId} for 30d (until `);
    expect(ran.stderr).toContain(`AMESH_OWNER_KEY=${publicKey}`);
    expect(ran.stderr).toContain('It cannot be revoked');
    expect(ran.stderr).not.toContain(ran.stdout.slice(17, 60));

    const reader = await createMachine();
    const owned = { AMESH_OWNER_KEY: publicKey as string };
    const key = { AMESH_ANSWER_KEY: ran.stdout.trim() };
    const other = await createMachine();
    const { publicKey: otherKey } = await other.init('other');
    expect(await answersIn(reader, owned)).toEqual([
      expect.stringMatching(/^warning .* cannot prove its answers/),
    ]);
    expect(await answersIn(reader, { ...owned, ...key })).toEqual([
      expect.stringMatching(/^ok A server here proves its answers with AMESH_ANSWER_KEY, until .* UTC\.$/),
    ]);
    expect(await answersIn(reader, { AMESH_OWNER_KEY: otherKey as string, ...key })).toEqual([
      expect.stringMatching(/^failed AMESH_ANSWER_KEY belongs to am_/),
    ]);
    expect(await answersIn(owner, key)).toEqual([
      expect.stringMatching(/^warning AMESH_ANSWER_KEY is not used/),
    ]);
    expect(await answersIn(owner, {})).toEqual([]);
  });
});
