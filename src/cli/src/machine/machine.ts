import {
  type Device,
  FileStore,
  homeDir,
  isLoopback,
  openDevice,
  parseHosts,
  portOf,
  readFirstHosts,
  readIdentity,
  toTrustLine,
} from '@authmesh/sdk/admin/list';
import { UsageError } from '../errors/errors';
import { shellWord } from '../words/shell';
import { loadCore } from './load';

/** The folder of this machine's identity, as an absolute path. */
export function machineDir(): string {
  return homeDir(undefined, process.env);
}

/** This machine's identity, with its key opened. */
export function openMachine(): Promise<Device> {
  return openDevice(machineDir(), process.env);
}

/**
 * This machine, even if its key is lost or locked. It is for work without a signature, such as copying the list for another key
 * that takes it over. Work that needs a signature throws the error of the key.
 */
export async function openToRead(): Promise<Device> {
  const dir = machineDir();
  try {
    return await openDevice(dir, process.env);
  } catch (error) {
    const identity = await readIdentity(new FileStore(dir)).catch(() => null);
    const { fromBase64Url } = await loadCore();
    const publicKey = fromBase64Url(identity?.publicKey ?? '');
    if (!isKeyError(error) || publicKey?.length !== 33) throw error;
    return openDevice(dir, process.env, undefined, { publicKey, sign: () => Promise.reject(error) });
  }
}

function isKeyError(error: unknown): boolean {
  return /^(?:key|keychain|pin|passphrase)_/.test((error as { code?: string }).code ?? '');
}

/** The hosts for which this machine accepts requests, and where they are set. */
export interface AnswersTo {
  /** Empty: localhost only. */
  readonly hosts: readonly string[];
  readonly from: 'AMESH_HOSTS' | 'allow_list' | 'default';
}

/** Like {@link answersTo}, but it also works for an identity without a list, whose key is outside amesh. */
export async function ownHosts({ identity, store, trust }: Device): Promise<AnswersTo> {
  const hosts = await readFirstHosts(store, identity);
  return answersTo(hosts === null ? await trust.read() : { hosts });
}

/** The hosts of a server in this environment, unless its code sets others. */
export function answersTo(list: { readonly hosts: readonly string[] }): AnswersTo {
  // A wrong AMESH_HOSTS has its own warning. It must not turn a successful change into a failure.
  const fromEnvironment = hostsOrNone(process.env.AMESH_HOSTS ?? '');
  if (fromEnvironment.length > 0) return { hosts: fromEnvironment, from: 'AMESH_HOSTS' };
  return { hosts: list.hosts, from: list.hosts.length > 0 ? 'allow_list' : 'default' };
}

function hostsOrNone(text: string): string[] {
  try {
    return parseHosts(text);
  } catch {
    return [];
  }
}

/**
 * @param text hosts separated by commas
 * @param where its origin, for the message
 * @throws UsageError that names the first entry that is not a host
 */
export function toHosts(text: string, where: string): string[] {
  try {
    return parseHosts(text);
  } catch (error) {
    const wrong =
      text
        .split(',')
        .map((host) => host.trim())
        .find((host) => host !== '' && hostsOrNone(host).length === 0) ?? '';
    const hint = isZoned(wrong) ? ZONE : ADDRESSES;
    throw new UsageError(
      `${where}: ${(error as Error).message}`,
      /^[[\d]/.test(wrong) ? { hint } : undefined,
    );
  }
}

/** Whether a text contains an IPv6 address with a zone, such as `[fe80::1%eth0]`. */
export function isZoned(text: string): boolean {
  return /\[[\da-f:.]*%[^\]]*\]/i.test(text);
}

/** The hint for an address with a zone. */
export const ZONE =
  'A zone (%eth0) is valid on one machine only, and not in a URL. Use a name, or an address without a zone.';

const ADDRESSES = 'An IPv4 address has four numbers up to 255; an IPv6 address must be in its shortest form.';

/**
 * Warns about a loopback name without a port: a server rarely listens on ports 80 and 443 only.
 *
 * @param text hosts separated by commas, as typed
 */
export function loopbackNotes(text: string): string[] {
  const typed = text.split(',').map((host) => host.trim().toLowerCase());
  return parseHosts(text)
    .filter((host) => typed.includes(host) && isLoopback(host) && portOf(host) === null)
    .map((host) => `! "${host}" means ports 80 and 443. For another port, include it: ${host}:3000`);
}

/** Hosts as text for people. */
export function hostsText(hosts: readonly string[]): string {
  return hosts.length === 0 ? 'localhost only' : hosts.join(', ');
}

type Named = Parameters<typeof toTrustLine>[0];

/** The command that adds this machine as a target on another one. */
export function trustAsTarget(identity: Named, hosts: readonly string[]): string {
  const at = hosts.length === 0 ? 'HOST:PORT' : shellWord(hosts.join(','));
  return `amesh trust add --role target --host ${at} ${shellWord(toTrustLine(identity))}`;
}

/** The command that adds this machine as a controller on another one. */
export function trustAsController(identity: Named): string {
  const { publicKey, friendlyName } = identity; // only machines that call this one need to know whether it proves its answers
  return `amesh trust add --role controller ${shellWord(toTrustLine({ publicKey, friendlyName }))}`;
}
