import { FileStore, ownTrust, readListTrust } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { checkAnswers } from '../doctor/answers';
import { checkClock } from '../doctor/clock';
import { checkDelegation, type FoundDelegation, notUsed } from '../doctor/delegation';
import { checkFolder } from '../doctor/files';
import { bounded, type Finding } from '../doctor/finding';
import { checkHosts, checkList, checkOwnersList, checkSeen, type FoundList } from '../doctor/list';
import {
  checkIdentity,
  checkKey,
  checkRotation,
  checkVersions,
  type FoundIdentity,
  type FoundKey,
} from '../doctor/machine';
import { asNeeded, checkNonces, checkRelay, checkStore, type FoundRelay } from '../doctor/network';
import { checkProxy } from '../doctor/proxy';
import { asDelegate, asDevice, type Caller, checkTarget, type FoundTarget } from '../doctor/target';
import type { CommandCode } from '../errors/codes';
import { UNCHANGED, UsageError } from '../errors/errors';
import { EXIT, type ExitCode } from '../errors/exit-codes';
import { isZoned, machineDir, ZONE } from '../machine/machine';
import type { OutputOptions } from '../terminal/output';
import { Teller } from '../terminal/teller';
import { SUMMARIES } from './summaries';

type Check = readonly [name: string, finding: Finding];

const MARKS = Object.freeze({ ok: '✓', warning: '!', failed: '✗', skipped: '-' });

export const doctor = defineCommand({
  meta: { name: 'doctor', description: SUMMARIES.doctor },
  args: {
    url: {
      type: 'positional',
      required: false,
      description:
        'A server to call with a signed GET: a URL with a path that verify() protects, such as https://api.example.com/api/orders',
    },
    ...SHARED_ARGS,
  },

  async run({ args, data }): Promise<Result> {
    const url = args.url === undefined ? null : toUrl(args.url);
    const teller = new Teller(data as OutputOptions);
    teller.wait(() => 'Checking…');
    try {
      const [checks, target] = await examine(machineDir(), url);
      return toResult(checks, target !== null && target.isVerified !== true ? url : null);
    } finally {
      teller.stop();
    }
  },
});

async function examine(dir: string, url: URL | null): Promise<[Check[], FoundTarget | null]> {
  const elsewhere = Promise.all([
    bounded(checkStore),
    bounded(checkNonces),
    bounded(() => checkRelay(dir)) as Promise<FoundRelay>,
  ]);
  const versions = await bounded(checkVersions);
  const delegation: FoundDelegation | null = await bounded(checkDelegation as () => Promise<FoundDelegation>);
  const own = delegation?.signer === undefined ? await examineFolder(dir) : UNUSED;
  const { identity, inspected } = own;
  const trusted = inspected?.list;
  const caller = delegation?.signer ? asDelegate(delegation.signer) : own.caller;
  const target: FoundTarget | null =
    url === null ? null : await bounded((signal) => checkTarget(url, caller, signal));
  const [store, nonces, relay] = await elsewhere;
  const clock = await bounded(() => checkClock([relay.clock, target?.clock], identity, inspected));
  const checks: Check[] = [
    ['versions', versions],
    ...(delegation === null ? [] : [['delegate', delegation] as const]),
    ...own.checks,
    ['store', store],
    ['nonces', nonces],
    ['proxy', await bounded(() => checkProxy(relay.relay ?? null, url))],
    ['relay', asNeeded(relay, trusted)],
    ['clock', clock],
    ...(target === null ? [] : [['target', target] as const]),
  ];
  return [checks, target];
}

/** What was found in the folder of the identity. */
interface Own extends Pick<FoundIdentity, 'identity'>, Pick<FoundList, 'inspected'> {
  readonly checks: readonly Check[];
  readonly caller: Caller;
}

const UNUSED: Own = Object.freeze({
  caller: asDevice(undefined, undefined),
  checks: (['folder', 'identity', 'key', 'list'] as const).map((name): Check => [name, notUsed()]),
});

async function examineFolder(dir: string): Promise<Own> {
  const folder = [await bounded(() => checkFolder(dir))].flat();
  const found: FoundIdentity = await bounded(() => checkIdentity(dir));
  const { identity } = found;
  const key: FoundKey = await bounded(() => checkKey(dir, identity));
  const list: FoundList = await bounded(async () =>
    checkList(
      dir,
      identity && key.signer
        ? await ownTrust(new FileStore(dir), identity, process.env)
        : await readListTrust(process.env),
    ),
  );
  const owner: FoundList | null = await bounded((() =>
    checkOwnersList(dir, identity)) as () => Promise<FoundList>);
  const answers: Finding | null = await bounded((() => checkAnswers(identity)) as () => Promise<Finding>);
  const { inspected } = list;
  const rotation: Finding | null = await bounded((() =>
    checkRotation(dir, inspected?.list)) as () => Promise<Finding>);
  const checks: Check[] = [
    ...folder.map((finding) => ['folder', finding] as const),
    ['identity', found],
    ['key', key],
    ['list', list],
    ...(owner === null ? [] : [['list', owner] as const]),
    ...(answers === null ? [] : [['answers', answers] as const]),
    ...(rotation === null ? [] : [['rotation', rotation] as const]),
    ['seen', await bounded(() => checkSeen(dir, inspected))],
    ['hosts', await bounded(() => checkHosts(inspected?.list))],
  ];
  return {
    checks,
    // If AMESH_OWNER_KEY names another device, programs look up their targets in the list of that device.
    caller: asDevice(
      identity && key.signer && { identity, signer: key.signer, store: new FileStore(dir) },
      (owner ?? list).inspected?.list,
    ),
    ...(identity && { identity }),
    ...(inspected && { inspected }),
  };
}

/** @param unproven the given server, if no check has proven that it accepts this machine's requests */
function toResult(all: readonly Check[], unproven: URL | null): Result {
  const of = (state: Finding['state']) => all.filter(([, finding]) => finding.state === state);
  const [broken, doubtful] = [of('failed'), of('warning')];
  const checks = all.map(([check, { state, message, fix }]) => ({ check, state, message, fix }));
  const data = all.flatMap(([check, { state, message, fix }]) => [
    `${MARKS[state]} ${check.padEnd(8)}  ${message}`,
    ...(fix === null ? [] : [`            Fix: ${fix}`]),
  ]);
  if (broken.length === 0) {
    const more = doubtful.length === 0 ? '' : ` Check the warnings: ${namesOf(doubtful)}.`;
    if (unproven === null) return { json: { checks }, data, notes: [`✓ Nothing is broken.${more}`] };
    const note = `! Nothing is broken on this machine, but nothing proves that ${unproven.host} accepts its requests.${more}`;
    return { json: { checks }, data, notes: [note] };
  }
  const message = `These checks failed: ${namesOf(broken)}.`;
  const hint = broken.map(([, { fix }]) => fix).find((fix) => fix !== null) ?? '';
  return {
    json: { ok: false, error: { code: 'checks_failed' satisfies CommandCode, message, hint }, checks },
    data,
    notes: [`✗ ${message} ${UNCHANGED}`],
    exitCode: exitCodeOf(broken),
  };
}

function namesOf(checks: readonly Check[]): string {
  return [...new Set(checks.map(([name]) => name))].join(', ');
}

/** A specific exit code only if a single check failed, or the others fail because there is no identity. */
function exitCodeOf(broken: readonly Check[]): ExitCode {
  const [first, ...others] = broken.map(([, { exitCode = EXIT.failure }]) => exitCode) as [ExitCode];
  if (first === EXIT.noIdentity) return first;
  return others.length === 0 ? first : EXIT.failure;
}

function toUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '')
    return url;
  const hint = isZoned(text) ? { hint: ZONE } : undefined;
  throw new UsageError('The server must be a URL such as https://api.example.com/api/orders.', hint);
}
