import { access, constants } from 'node:fs/promises';
import { type Inspected, inspectTrust } from '@authmesh/sdk/admin';
import {
  type DeviceIdentity,
  FileStore,
  type ListTrust,
  type PagedList,
  parseHosts,
  readListTrust,
  readVariable,
  trustOf,
} from '@authmesh/sdk/admin/list';
import { countCallers, countRole, missingError, readDevices } from '../allow-list/devices';
import { dueEnds, endText } from '../allow-list/ends';
import { pendingRotations, pendingText } from '../allow-list/rotations';
import { answersTo, hostsText } from '../machine/machine';
import { here } from '../words/here';
import { type Finding, failed, ok, skipped, toFinding, warning } from './finding';

export interface FoundList extends Finding {
  readonly inspected?: Inspected;
}

/** @param trust the keys that may have sealed it; undefined if that is not certain */
export async function checkList(dir: string, trust: ListTrust | undefined): Promise<FoundList> {
  if (trust === undefined) return skipped('Not checked: that needs the key that sealed it.');
  const inspected = await inspectTrust(new FileStore(dir), trust, process.env);
  const { list } = inspected;
  const { devices, missing } = readDevices(list);
  const error = missingError(missing, 'counted');
  if (error !== undefined) return { ...failed(`Sealed. ${error.message}`, error.hint), inspected };
  const [waiting] = pendingRotations(devices);
  const [first, ...others] = dueEnds(devices, list.head, Math.floor(Date.now() / 1000));
  const more = others.length === 0 ? '' : ` ${others.length} more end soon or have ended.`;
  const soon = first && ` But ${endText(first)}.${more}`;
  const found = (text: string) => {
    if (waiting !== undefined)
      return warning(
        `${text} But ${pendingText(waiting)}, and waits for you.`,
        here(`amesh rotate accept ${waiting.next.deviceId}`),
      );
    return soon === undefined ? ok(text) : warning(text + soon, here('amesh list --expires 14d'));
  };
  const where = process.env.AMESH_STORE_URL ? 'in the store of AMESH_STORE_URL, ' : '';
  return {
    ...found(
      `Sealed, ${where}revision ${list.head.revision}: ${countCallers(list)} may call this machine, and it may call ${countRole(list, 'target')}.`,
    ),
    inspected,
  };
}

/**
 * Checks the list that a server uses if AMESH_OWNER_KEY names the key of another device.
 *
 * @param identity the identity in the folder; {@link checkList} checks its own list
 * @returns null if no server in this environment uses another list
 */
export async function checkOwnersList(
  dir: string,
  identity: DeviceIdentity | undefined,
): Promise<FoundList | null> {
  if (identity === undefined) return null;
  const trust = await readListTrust(process.env);
  if (trust === undefined || (await trustOf(identity, process.env)).list === trust.list) return null;
  const found: FoundList = await checkList(dir, trust).catch(toFinding);
  const who = `AMESH_OWNER_KEY names the key of another device, so a server in this environment uses the list of ${trust.list}.`;
  return {
    state: found.state,
    message: `${who} ${found.message}`,
    fix:
      found.state === 'failed'
        ? `unset AMESH_OWNER_KEY   if it should use the list of this machine`
        : found.fix,
    ...(found.inspected && { inspected: found.inspected }),
  };
}

/** Checks the record that detects an older copy of the list. */
export async function checkSeen(dir: string, inspected: Inspected | undefined): Promise<Finding> {
  if (inspected === undefined) return skipped('There is no list to compare.');
  const { seen } = inspected;
  if (seen !== null) return ok(`Revision ${seen.revision} is the newest seen here.`);
  const isWritable = await access(dir, constants.W_OK).then(
    () => true,
    () => false,
  );
  return isWritable
    ? skipped('No revision was seen here yet.')
    : skipped('The folder is read-only: only running servers notice an older list.');
}

/** @param list undefined if it cannot be read */
export async function checkHosts(list: PagedList | undefined): Promise<Finding> {
  const { AMESH_HOSTS } = process.env;
  try {
    parseHosts(readVariable(process.env, 'AMESH_HOSTS', 'unset') ?? '');
  } catch (error) {
    return failed(
      `AMESH_HOSTS is wrong, so a server would not start: ${(error as Error).message}`,
      'export AMESH_HOSTS=api.example.com',
    );
  }
  if (list === undefined && !AMESH_HOSTS) return skipped('There is no list to read them from.');
  const { hosts, from } = answersTo(list ?? { hosts: [] });
  if (hosts.length > 0) return ok(`${hostsText(hosts)} (${from === 'AMESH_HOSTS' ? from : 'the list'}).`);
  const callers = list === undefined ? 0 : countCallers(list);
  if (callers === 0) return ok('localhost only.');
  return warning(
    `localhost only, but ${callers === 1 ? '1 machine' : `${callers} machines`} may call this one. Do they use another name?`,
    here('amesh config hosts --add api.example.com'),
  );
}
