import {
  type AllowListDocument,
  type Device,
  type DeviceIdentity,
  homeDir,
  isLoopback,
  openDevice,
  parseHosts,
  portOf,
  toTrustLine,
} from '@authmesh/sdk/admin';
import { UsageError } from '../errors/errors';
import { shellWord } from '../words/shell';

/** The folder of this machine's identity, an absolute path. */
export function machineDir(): string {
  return homeDir(undefined, process.env);
}

/** This machine's identity with its key opened. */
export function openMachine(): Promise<Device> {
  return openDevice(machineDir(), process.env);
}

/** What this machine answers to, and who says so. */
export interface AnswersTo {
  /** Empty: localhost only. */
  readonly hosts: readonly string[];
  readonly from: 'AMESH_HOSTS' | 'allow_list' | 'default';
}

/** The way a server in this environment would see it, unless its own code says otherwise. */
export function answersTo(document: Pick<AllowListDocument, 'hosts'>): AnswersTo {
  // A wrong one is a warning of its own: here it must not turn a change that was made into a failure.
  const fromEnvironment = hostsOrNone(process.env.AMESH_HOSTS ?? '');
  if (fromEnvironment.length > 0) return { hosts: fromEnvironment, from: 'AMESH_HOSTS' };
  return { hosts: document.hosts, from: document.hosts.length > 0 ? 'allow_list' : 'default' };
}

function hostsOrNone(text: string): string[] {
  try {
    return parseHosts(text);
  } catch {
    return [];
  }
}

/**
 * @param text hosts with commas between them
 * @param where it stands, for the message
 * @throws UsageError naming the first that is no host
 */
export function toHosts(text: string, where: string): string[] {
  try {
    return parseHosts(text);
  } catch (error) {
    const { message } = error as Error;
    const isAddress = /^"[[\d]/.test(message);
    const hint = isZoned(message) ? ZONE : ADDRESSES;
    throw new UsageError(`${where}: ${message}`, isAddress ? { hint } : undefined);
  }
}

/** Whether a text holds an IPv6 address with a zone, such as `[fe80::1%eth0]`. */
export function isZoned(text: string): boolean {
  return /\[[\da-f:.]*%[^\]]*\]/i.test(text);
}

/** What to say of an address with a zone. */
export const ZONE =
  'A zone (%eth0) means a link of one machine alone, and no URL holds it. Give a name, or an address without one.';

const ADDRESSES = 'An IPv4 address has four numbers up to 255, an IPv6 address is as short as it can be.';

/**
 * Says so where a name of this machine is given without a port: on 80 and 443 alone it seldom answers.
 *
 * @param text hosts with commas between them, as they were typed
 */
export function loopbackNotes(text: string): string[] {
  const typed = text.split(',').map((host) => host.trim().toLowerCase());
  return parseHosts(text)
    .filter((host) => typed.includes(host) && isLoopback(host) && portOf(host) === null)
    .map((host) => `! "${host}" means ports 80 and 443. Another port is part of the name: ${host}:3000`);
}

/** Hosts as a person reads them. */
export function hostsText(hosts: readonly string[]): string {
  return hosts.length === 0 ? 'localhost only' : hosts.join(', ');
}

type Named = Pick<DeviceIdentity, 'publicKey' | 'friendlyName'>;

/** The command with which a machine comes to call this one. */
export function trustAsTarget(identity: Named, hosts: readonly string[]): string {
  const at = hosts.length === 0 ? 'HOST:PORT' : shellWord(hosts.join(','));
  return `amesh trust add --role target --host ${at} ${shellWord(toTrustLine(identity))}`;
}

/** The command with which a machine lets this one call it. */
export function trustAsController(identity: Named): string {
  return `amesh trust add --role controller ${shellWord(toTrustLine(identity))}`;
}
