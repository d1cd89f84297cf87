import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Device, openDevice } from '@authmesh/sdk/admin';
import { deviceIdOf, fromBase64Url, toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { beforeAll, describe, expect, it } from 'vitest';
import { bitsOf, findPrefix } from '../../src/trust/format/prefix';
import { newDevice, randomId, withDevices } from '../support/list-document';
import { type Machine, objectOf, useMachines } from './amesh';
import { examineWith } from './examine';

/** A command over a damaged list works on the healthy part, or says the cause and the fix, and what it changed. */

const DELEGATION = 'gGgGgGgGgGgGgGgGgGgGgA';
const createMachine = useMachines();

/** A list of several pages. `lost` is on the page that is damaged later, `kept` on another. */
let template: Machine;
let kept: string;
let lost: string;
/** The name of the page of `lost`. */
let page: string;
/** The list of another machine. */
let others: Buffer;

beforeAll(async () => {
  template = await createMachine('prod-api');
  const { trust } = await openDevice(template.dir, {});
  await withDevices(trust, Array.from({ length: 600 }, randomId));
  const keptKey = toBase64Url(
    (await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey())).publicKey,
  );
  kept = await deviceIdOf(fromBase64Url(keptKey) as Uint8Array, nodeCrypto);
  do lost = randomId();
  while ((await pageOf(trust, lost)) === (await pageOf(trust, kept)));
  await trust.update(async (draft) => {
    const roles = ['controller', 'target'] as const;
    for (const [id, friendlyName] of [
      [kept, 'kept'],
      [lost, 'lost'],
    ] as const)
      await draft.put({
        ...newDevice(id),
        ...(id === kept && { publicKey: keptKey }), // a delegation names it
        friendlyName,
        scopes: ['a'],
        roles,
      });
  });
  page = await pageOf(trust, lost);
  others = await readFile(join((await createMachine('other')).dir, 'allow_list.json'));
}, 180_000);

async function pageOf(trust: Device['trust'], id: string): Promise<string> {
  const { pages } = await trust.readHead();
  const at = findPrefix(
    pages.map(({ prefix }) => prefix),
    bitsOf(id),
  );
  return pages[at]?.content as string;
}

async function damaged(damage: (dir: string) => Promise<unknown>): Promise<Machine> {
  const machine = await createMachine();
  await cp(template.dir, machine.dir, { recursive: true });
  await damage(machine.dir);
  return machine;
}

const headOf = (machine: Machine) => readFile(join(machine.dir, 'allow_list.json'), 'utf8');

const CAUSE = {
  missing: 'A page of the allow list is missing.',
  changed: 'A page of the allow list is damaged.',
};
const RESTORE = 'Restore the pages of the list from a backup.';
const BY_NAME = 'Give its ID instead, if its own part can be read.';

/** What each command does: `done` as if nothing were damaged, `part` of its work and says what is missing, `none`. */
const COMMANDS: readonly (readonly [line: string, 'done' | 'part' | 'none', text: string])[] = [
  ['list', 'part', 'cannot be read'],
  ['list --role controller', 'part', 'cannot be read'],
  ['list --name kept', 'part', 'cannot be read'],
  ['list --name lost', 'part', 'cannot be read'],
  ['list --unused 30d', 'part', 'cannot be read'],
  ['list --expires 14d', 'part', 'cannot be read'],
  ['list --export', 'none', RESTORE],
  ['status', 'part', 'cannot be read'],
  ['tokens', 'part', 'cannot be read'],
  ['whoami', 'done', 'prod-api'],
  ['can KEPT a', 'done', 'may do a'],
  ['can kept a', 'none', BY_NAME],
  ['can LOST a', 'none', RESTORE],
  ['can lost a', 'none', BY_NAME],
  ['allow KEPT b', 'done', 'may now do: a, b'],
  ['allow kept b', 'none', BY_NAME],
  ['allow LOST b', 'none', RESTORE],
  ['allow KEPT --expires 1d', 'done', 'Set the end'],
  ['deny KEPT a', 'done', 'may no longer do: a'],
  ['deny kept a', 'none', BY_NAME],
  ['deny LOST a', 'none', RESTORE],
  ['rename KEPT new', 'done', 'is now called "new"'],
  ['rename kept new', 'none', BY_NAME],
  ['rename LOST new', 'none', RESTORE],
  ['rename prod-api new', 'done', 'This machine is now called "new"'],
  ['revoke KEPT --yes', 'done', 'Revoked "kept"'],
  ['revoke kept --yes', 'none', BY_NAME],
  ['revoke LOST --yes', 'none', RESTORE],
  ['revoke nobody --yes', 'none', BY_NAME],
  ['revoke --all-controllers --yes', 'part', 'so its devices are not revoked'],
  ['revoke --unused 90d --yes', 'part', 'so its devices are not revoked'],
  [`revoke --delegate ${DELEGATION} --yes`, 'done', 'Revoked the delegation'],
  ['keys cut KEPT --yes', 'done', 'do not count any more'],
  ['keys cut LOST --yes', 'none', RESTORE],
  ['delegate --name x --scope a --target KEPT', 'done', 'may call "kept"'],
  ['delegate --name x --scope a --target kept', 'none', BY_NAME],
  ['config hosts a.example --yes', 'done', 'Accepts requests for a.example'],
  ['config hosts a.example', 'none', 'the machines that may call this one'],
  ['grant --name x', 'done', 'A grant for one caller'],
  ['provision --name x', 'done', 'A token for "x"'],
  ['trust export', 'done', 'amesh-p256'],
  ['trust reset --keep --yes', 'none', 'Without a backup, start an empty list'],
];

describe.each(['missing', 'changed'] as const)('with a page that is %s', (kind) => {
  const damage = (dir: string) => {
    const path = join(dir, 'list', page);
    return kind === 'missing' ? rm(path) : writeFile(path, 'x');
  };

  it.each(COMMANDS)('amesh %s: %s', async (line, what, text) => {
    const machine = await damaged(damage);
    const before = await headOf(machine);
    const words = line.split(' ').map((word) => ({ KEPT: kept, LOST: lost })[word] ?? word);
    const { code, stdout, stderr } = await machine.amesh(words);
    expect(stdout + stderr).toContain(text);
    if (what === 'done') return expect(code, stderr).toBe(0);
    expect(code, stderr).not.toBe(0);
    if (!line.startsWith('config')) expect(stderr).toContain(CAUSE[kind]);
    const isChanged = (await headOf(machine)) !== before;
    if (what === 'none') expect(isChanged).toBe(false);
    // What only reads says so only where it could not do anything.
    if (what === 'none' || isChanged) expect(stderr.includes('No changes were made.')).toBe(!isChanged);
  });

  it('amesh revoke --all-controllers revokes the controllers on the other pages, and fails', async () => {
    const machine = await damaged(damage);
    const ran = await machine.amesh(['revoke', '--all-controllers', '--yes', '--json']);
    const { revoked, ...json } = objectOf(ran) as { revoked: { deviceId: string }[] };
    expect([ran.code, json]).toMatchObject([
      1,
      {
        ok: false,
        error: {
          code: 'allow_list_unavailable',
          message: expect.stringContaining(`(${page}), so its devices are not revoked.`),
          hint: `${RESTORE} Until then, servers refuse these devices. After that, repeat the command.`,
        },
      },
    ]);
    expect(revoked.map(({ deviceId }) => deviceId)).toContain(kept);
    const { devices } = objectOf(await machine.amesh(['list', '--json']));
    expect(devices).toEqual([]);
    await cp(join(template.dir, 'list', page), join(machine.dir, 'list', page));
    expect((await machine.amesh(['revoke', '--all-controllers', '--yes'])).code).toBe(0);
    expect(objectOf(await machine.amesh(['list', '--json', '--role', 'controller'])).devices).toEqual([]);
  });

  it('amesh tokens cancel and amesh revoke --grant close the grant, and name the part that they could not read', async () => {
    const machine = await damaged(damage);
    const { id } = objectOf(await machine.amesh(['grant', '--name', 'x', '--json'])) as { id: string };
    const cancelled = await machine.amesh(['tokens', 'cancel', id]);
    expect([cancelled.code, cancelled.stderr]).toEqual([0, expect.stringContaining('✓ Closed.')]);
    expect(cancelled.stderr).toContain(page);
    const other = objectOf(await machine.amesh(['grant', '--name', 'y', '--json'])) as { id: string };
    const revoked = await machine.amesh(['revoke', '--grant', other.id, '--yes']);
    expect([revoked.code, revoked.stderr]).toEqual([1, expect.stringContaining('✓ Revoked the grant')]);
    expect(revoked.stderr).toContain(`(${page}), so its devices are not revoked.`);
    expect(await headOf(machine)).not.toContain(other.id);
  });

  it('amesh doctor says which part of the list is damaged, and continues with the rest', async () => {
    const machine = await damaged(damage);
    const { of: found } = await examineWith(machine, { AMESH_RELAY_URL: 'ws://127.0.0.1:1/ws' });
    expect(found.list).toMatchObject({
      state: 'failed',
      message: `Sealed. A part of the list cannot be read (${page}), so its devices are not counted. ${CAUSE[kind]}`,
      fix: RESTORE,
    });
    expect(found.seen).toMatchObject({ state: 'ok' });
    expect(found.hosts).toMatchObject({ state: 'warning' });
  });
});

describe('with a head of another owner', () => {
  const withoutList = /^(?:whoami|keys$|trust (?:export|reset))/;

  it.each(COMMANDS.filter(([line]) => !withoutList.test(line)))('amesh %s', async (line) => {
    const machine = await damaged((dir) => writeFile(join(dir, 'allow_list.json'), others));
    const words = line.split(' ').map((word) => ({ KEPT: kept, LOST: lost })[word] ?? word);
    const { code, stderr } = await machine.amesh(words);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(
      /^✗ The allow list is sealed by another device\.\n {2}If it was moved to another owner/,
    );
    expect(stderr).toContain('No changes were made.');
    expect(await readFile(join(machine.dir, 'allow_list.json'))).toEqual(others);
  });
});
