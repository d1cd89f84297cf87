import { access, constants } from 'node:fs/promises';
import {
  FileStore,
  type Inspected,
  inspectTrust,
  type ListTrust,
  type PagedList,
  parseHosts,
  readVariable,
} from '@authmesh/sdk/admin';
import { countRole, missingError, readDevices } from '../allow-list/devices';
import { dueEnds, endText } from '../allow-list/ends';
import { answersTo, hostsText } from '../machine/machine';
import { here } from '../words/here';
import { type Finding, failed, ok, skipped, warning } from './finding';

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
  const [first, ...others] = dueEnds(devices, list.head, Math.floor(Date.now() / 1000));
  const more = others.length === 0 ? '' : ` ${others.length} more end soon or have ended.`;
  const soon = first && ` But ${endText(first)}.${more}`;
  const found = (text: string) =>
    soon === undefined ? ok(text) : warning(text + soon, here('amesh list --expires 14d'));
  const where = process.env.AMESH_STORE_URL ? 'in the store of AMESH_STORE_URL, ' : '';
  return {
    ...found(
      `Sealed, ${where}revision ${list.head.revision}: ${countRole(list, 'controller')} may call this machine, and it may call ${countRole(list, 'target')}.`,
    ),
    inspected,
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
  const callers = list === undefined ? 0 : countRole(list, 'controller');
  if (callers === 0) return ok('localhost only.');
  return warning(
    `localhost only, but ${callers === 1 ? '1 machine' : `${callers} machines`} may call this one. Do they use another name?`,
    here('amesh config hosts --add api.example.com'),
  );
}
