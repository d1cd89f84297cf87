import { execFile, execFileSync } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  addDevice,
  createIdentity,
  type Device,
  openDevice,
  rotateKey,
  toTrustLine,
} from '@authmesh/sdk/admin';
import { fromBase64Url } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proposeSuccessor } from '../../src/trust/rotation/successor';
import { ensureBuilt } from '../support/built';
import { times } from '../support/full';
import { documentOf, newDevice, randomId, withDevices } from '../support/list-document';
import { BIN, Machine } from './amesh';

/**
 * `all`: each system call of each command that changes a file is failed and killed, which takes some minutes. Otherwise the
 * calls that put something in the place of something else, of the commands that replace whole files.
 */
const IS_FULL = process.env.AMESH_FAULTS === 'all';
const LANES = 6;

const CHANGES =
  'openat,write,pwrite64,fsync,fdatasync,rename,link,linkat,unlink,mkdir,rmdir,chmod,fchmod,symlink,ftruncate';
const REPLACING = /^(?:trust reset|init|rotate(?! finish))|pages/;

const hasStrace = (() => {
  try {
    execFileSync('strace', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** One system call, and the how manieth of its name in its thread. */
interface Step {
  readonly call: string;
  readonly number: number;
  /** Puts something in the place of something else, or gives it a second name. */
  readonly isSwitch: boolean;
}

interface Case {
  readonly args: readonly string[];
  /** Changes the folder before the command runs. */
  readonly prepare?: (dir: string) => Promise<void>;
  /** What `prepare` leaves refuses everybody, and so may an interrupted command. */
  readonly isBrokenBefore?: true;
  /** The list has pages beside its head. */
  readonly isPaged?: true;
  /** What it is for: who calls afterwards. */
  readonly after: State;
  /** The codes that the command may end with when it is run again, where it had done everything the first time. */
  readonly again?: RegExp;
}

let root = '';
let template = '';
let caller: Device;
let peerLine = '';
beforeAll(async () => {
  if (!hasStrace) return;
  await ensureBuilt();
  root = await mkdtemp(join(tmpdir(), 'amesh-faults-'));
  template = join(root, 'template');
  await createIdentity(template, {}, { friendlyName: 'server', hosts: ['api.example.com'] });
  await createIdentity(join(root, 'caller'), {}, { friendlyName: 'caller' });
  peerLine = toTrustLine(await createIdentity(join(root, 'peer'), {}, { friendlyName: 'peer' }));
  caller = await openDevice(join(root, 'caller'), {});
  const { trust } = await openDevice(template, {});
  await trust.update((list) => addDevice(list, { ...caller.identity, role: 'controller', hosts: [] }, 0));
  await cp(template, `${template}-paged`, { recursive: true });
  const paged = await openDevice(`${template}-paged`, {});
  await withDevices(paged.trust, Array.from({ length: 600 }, randomId));
}, 180_000);
afterAll(() => (root === '' ? undefined : rm(root, { recursive: true, maxRetries: 20 })));

const cases: Record<string, Case> = {
  'trust reset': { args: ['trust', 'reset', '--yes'], after: 'refuses' },
  'trust reset --keep, seen.json damaged': {
    args: ['trust', 'reset', '--keep', '--yes'],
    prepare: (dir) => writeFile(join(dir, 'seen.json'), '{'),
    isBrokenBefore: true,
    after: 'lets in',
  },
  'init --force': { args: ['init', '--name', 'new', '--force'], after: 'refuses' },
  revoke: { args: ['revoke', 'caller', '--yes'], again: /already_revoked|unknown_name/, after: 'refuses' },
  'revoke, in a list with pages': {
    args: ['revoke', 'caller', '--yes'],
    isPaged: true,
    again: /already_revoked|unknown_name/,
    after: 'refuses',
  },
  'trust add': { args: ['trust', 'add', '--role', 'controller'], after: 'lets in' },
  'config hosts': { args: ['config', 'hosts', '--add', 'b.example.com', '--yes'], after: 'lets in' },
  'config relay': { args: ['config', 'relay', 'wss://relay.example.com/ws'], after: 'lets in' },
  rotate: { args: ['rotate'], after: 'lets in' },
  'rotate withdraw': {
    args: ['rotate', 'withdraw', '--yes'],
    prepare: async (dir) => void (await rotateKey(dir, {})),
    again: /not_rotating/,
    after: 'lets in',
  },
  'rotate finish': {
    args: ['rotate', 'finish', '--force', '--yes'],
    prepare: async (dir) => void (await rotateKey(dir, {})),
    again: /not_rotating/,
    after: 'lets in',
  },
  'rotate accept': {
    args: ['rotate', 'accept', 'caller', '--yes'],
    prepare: proposeKey,
    again: /no_rotation/,
    after: 'lets in',
  },
  grant: { args: ['grant', '--name', 'job-*', '--uses', '2', '--host', 'api.example.com'], after: 'lets in' },
};

/** The caller asks for another key. */
async function proposeKey(dir: string): Promise<void> {
  const { trust, identity } = await openDevice(dir, {});
  const next = newDevice();
  const rotation = {
    formerKey: fromBase64Url(caller.identity.publicKey) as Uint8Array,
    formerId: caller.identity.deviceId,
    nextKey: fromBase64Url(next.publicKey) as Uint8Array,
    nextId: next.deviceId,
    targetId: identity.deviceId,
    issuedAt: 0,
    text: '',
  };
  const policy = {
    accept: 'admin' as const,
    isWorkingKey: () => false,
    nowSeconds: Math.floor(Date.now() / 1000),
  };
  await trust.update((draft) => proposeSuccessor(draft, rotation, policy));
}

const wordsOf = ({ args }: Case) => [...args, ...(args[1] === 'add' ? [peerLine] : []), '--json'];

/** Runs the real command under strace, with one thread for files so that its calls have an order. */
async function run(dir: string, one: Case, strace: readonly string[]) {
  const command = ['-f', '-qq', '--seccomp-bpf', ...strace, process.execPath, BIN, ...wordsOf(one)];
  const env = { ...new Machine(dir).env(), UV_THREADPOOL_SIZE: '1', UV_USE_IO_URING: '0' };
  return promisify(execFile)('strace', command, { env }).then(
    ({ stdout }) => ({ isOk: true, stdout }),
    ({ stdout }) => ({ isOk: false, stdout: String(stdout) }),
  );
}

/** Runs the command as somebody would afterwards, in this process. */
async function runHere(dir: string, one: Case) {
  const { code, stdout } = await new Machine(dir).amesh(wordsOf(one));
  return { isOk: code === 0, stdout };
}

/** The calls of a run that change something in its folder. */
async function stepsOf(dir: string, one: Case): Promise<Step[]> {
  const trace = `${dir}.trace`;
  const { isOk, stdout } = await run(dir, one, ['-y', '-o', trace, '-e', `trace=${CHANGES}`]);
  expect(isOk, stdout).toBe(true);
  const counts = new Map<string, number>();
  const steps: Step[] = [];
  for (const line of (await readFile(trace, 'utf8')).split('\n')) {
    const [, thread = '', call = ''] = /^(\d+) +(\w+)\(/.exec(line) ?? [];
    if (call === '') continue;
    const number = (counts.get(`${thread} ${call}`) ?? 0) + 1;
    counts.set(`${thread} ${call}`, number);
    const isChange = call !== 'openat' || line.includes('O_CREAT');
    const isSwitch = call === 'link' || (call === 'rename' && !line.includes('.lock")'));
    if (isChange && line.includes(dir)) steps.push({ call, number, isSwitch });
  }
  return steps;
}

type State = 'lets in' | 'refuses' | 'broken';

/** What a server that is started with this folder answers to the caller. */
async function stateOf(dir: string): Promise<State> {
  try {
    const { trust } = await openDevice(dir, {});
    const { devices } = await documentOf(trust);
    return devices.some(({ deviceId }) => deviceId === caller.identity.deviceId) ? 'lets in' : 'refuses';
  } catch {
    return 'broken';
  }
}

async function fresh(name: string, { prepare, isPaged }: Case): Promise<string> {
  const dir = join(root, name);
  await cp(isPaged ? `${template}-paged` : template, dir, { recursive: true });
  await prepare?.(dir);
  return dir;
}

async function tryFault(name: string, one: Case, step: Step, fault: string, states: readonly State[]) {
  const dir = await fresh(name, one);
  const inject = ['-o', '/dev/null', '-e', `trace=${step.call}`];
  await run(dir, one, [...inject, '-e', `inject=${step.call}:${fault}:when=${step.number}`]);
  const what = `${fault} at ${step.call} ${step.number}`;
  expect(states, what).toContain(await stateOf(dir));
  if (one.args[0] !== 'init' && states.includes('lets in')) {
    const owner = await openDevice(dir, {});
    expect(owner.identity.friendlyName, what).toBe('server');
  }
  const again = await runHere(dir, one);
  if (!again.isOk) expect(again.stdout, what).toMatch(one.again ?? /(?!)/);
  const rests = (await readdir(dir)).filter((file) => file.endsWith('.new'));
  expect(rests, what).toEqual([]);
  await rm(dir, { recursive: true, maxRetries: 20 });
}

describe.skipIf(!hasStrace && process.env.CI !== 'true')(
  `a command whose system calls fail, or that is killed at them${hasStrace ? '' : ' (skipped: there is no strace)'}`,
  () => {
    it.each(Object.keys(cases).filter((name) => IS_FULL || REPLACING.test(name)))(
      'amesh %s',
      async (name) => {
        if (!hasStrace) throw new Error('There is no strace: .ci/run installs it.');
        const one = cases[name] as Case;
        const slug = name.replace(/\W+/g, '-');
        const dir = await fresh(`${slug}-0`, one);
        const before = await stateOf(await fresh(`${slug}-before`, one));
        const steps = await stepsOf(dir, one);
        const states = [before, await stateOf(dir)];
        expect(states).toEqual([one.isBrokenBefore ? 'broken' : 'lets in', one.after]);
        const chosen = IS_FULL ? steps : steps.filter((step) => step.isSwitch);
        expect(chosen.length).toBeGreaterThan(1);
        const faults = chosen.flatMap((step, index) => {
          const both = ['signal=SIGKILL', `error=${step.call === 'fsync' ? 'EIO' : 'ENOSPC'}`];
          const turn = both.slice(index % 2).slice(0, 1);
          return (IS_FULL ? both : times(turn, both)).map((fault) => ({ step, fault }));
        });
        const queue = faults.entries();
        const lane = async () => {
          for (const [index, { step, fault }] of queue)
            await tryFault(`${slug}-${index + 1}`, one, step, fault, states);
        };
        await Promise.all(Array.from({ length: LANES }, lane));
      },
      300_000,
    );
  },
);
