import type { LastSeenRecord as LastSeen } from './trust/last-seen';
import type { TrustStore as Store } from './trust/trust-store';

export { type GrantOptions, issueGrant, issueProvision, type ProvisionOptions } from './bootstrap/issue';
export { type WaitOptions, waitForRegistration } from './bootstrap/mailbox';
export { type Answered, takeRegistration, UNASKED } from './bootstrap/registration';
export { isLoopback, parseHosts, portOf } from './core/authority';
export { readVariable } from './environment';
export type { KeyBackend, KeyContext } from './keys/backend';
export { BACKENDS, findBackend } from './keys/backends';
export { assertPassphraseVariables } from './keys/passphrase';
export { loadLate } from './load-late';
export {
  type ControllerPerson,
  type InviteOptions,
  inviteTarget,
} from './pairing/invite';
export {
  type ListenOptions,
  type ListenResult,
  listenForController,
  type TargetPerson,
} from './pairing/listen';
export type { Peer } from './pairing/outcome';
export { probeRelay } from './pairing/probe-relay';
export { DEFAULT_RELAY_URL, toRelayUrl } from './pairing/relay-url';
export type { WrongCode } from './pairing/target';
export { uselessEntries } from './proxy/no-proxy';
export { ProxyError } from './proxy/proxy-error';
export { type HttpProxy, proxyVariables, type Route, readNoProxy, routeTo } from './proxy/route';
export { openTunnel, type TunnelOptions } from './proxy/tunnel';
export { fetchUsesProxy } from './proxy/unused-proxy';
export { probeRedis } from './storage/redis/probe';
export { userText } from './trust/accounts';
export {
  addDevice,
  confirmDevice,
  findDevice,
  type NewDevice,
  renameDevice,
  revokeDevice,
  setHosts,
} from './trust/changes';
export { type Device, openDevice } from './trust/device';
export type {
  AllowListDocument,
  DeviceEntry,
  Grant,
  IssuedToken,
  Lease,
  TakenToken,
  Tombstone,
} from './trust/document';
export type { DocumentStore } from './trust/document-store';
export { FileStore } from './trust/file-store';
export { assertFolder, type FolderFinding, inspectFolder } from './trust/folder-safety';
export { workTreeOf } from './trust/git-ignore';
export { closeGrant, findGrant, grantedDevices, revokeGrant } from './trust/grants';
export { type Env, homeDir } from './trust/home';
export { type DeviceIdentity, readIdentity, renameIdentity } from './trust/identity';
export { type Inspected, inspectTrust } from './trust/inspect';
export { modelessText } from './trust/modeless-volume';
export { cleanName } from './trust/names';
export { readOwnerKey } from './trust/owner-key';
export { nearestStep, type Step } from './trust/path-steps';
export { type ResetOptions, readOlderList, resetTrust } from './trust/reset';
export type { Seen } from './trust/seen';
export {
  type Aside,
  type CreateIdentityOptions,
  createIdentity,
  type Published,
} from './trust/setup';
export { cancelToken, findIssued, pendingTokens } from './trust/tokens';
export { fromTrustLine, type TrustLine, toTrustLine } from './trust/trust-line';
export type { ListContent, OpenedList, Owner, TrustPlace } from './trust/trust-store';

// As types alone: what bundles the declarations would export a class, which this module does not have.
/** When each device was last let in. */
export type LastSeenRecord = LastSeen;
/** The allow list of a machine: reads, checks, changes and seals it. */
export type TrustStore = Store;
