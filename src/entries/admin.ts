/**
 * What the command line is built on: identities, the allow list, tokens, pairing and proxies.
 *
 * Unstable: this API may change in any minor release before 1.0. Pin the exact version if you use it.
 *
 * @experimental
 * @module
 */

export { type WaitOptions, waitForRegistration } from '../bootstrap/provision/mailbox';
export { type Answered, takeRegistration, UNASKED } from '../bootstrap/provision/registration';
export {
  type GrantOptions,
  issueGrant,
  issueProvision,
  type ProvisionOptions,
} from '../bootstrap/tokens/issue';
export {
  type IssueAnswerKeyOptions,
  type IssuedAnswerKey,
  issueAnswerKey,
} from '../core/answers/issue-answer-key';
export { type ListOwners, type MountedKey, NoAnswerKey, readAnswerKey } from '../core/answers/mounted-key';
export { covers, isScope } from '../core/devices/scopes';
export { SENDS_ONCE } from '../core/hints/sends-once';
export type { RotationAnswer } from '../core/rotation/field';
export {
  type IssueDelegationOptions,
  type IssuedDelegation,
  issueDelegation,
  type TargetKey,
} from '../core/statements/issue-delegation';
export { isDelegateName } from '../core/statements/read-statement';
export { STATEMENT_LIMITS } from '../core/statements/statement';
export { isLoopback, parseHosts, portOf } from '../core/wire/authority';
export type { KeyBackend, KeyContext } from '../keys/backend';
export { BACKENDS, findBackend } from '../keys/backends';
export { assertPassphraseVariables } from '../keys/passphrase';
export { testKey } from '../keys/test-key';
export type { LastSeenRecord, ListDraft, ListStore, PagedList, ParsedDevices } from '../machine/admin-types';
export { besideDelegation } from '../machine/delegate';
export { loadLate } from '../machine/load-late';
export {
  type Finished,
  type FinishOptions,
  finishRotation,
} from '../machine/rotate/finish';
export { type RotateOptions, type Rotating, rotateKey } from '../machine/rotate/start';
export { type TellOptions, type Told, type ToldRotation, tellTargets } from '../machine/rotate/tell';
export { type Withdrawn, type WithdrawOptions, withdrawRotation } from '../machine/rotate/withdraw';
export type { TargetAnswer } from '../machine/rotation/ask-target';
export { issuedAtOf } from '../machine/rotation/change-rotation';
export { ownTrust } from '../machine/rotation/own-trust';
export {
  hasSaid,
  type Listed,
  type OwnRotation,
  readRotationFile,
  type ToldState,
  type ToldTarget,
} from '../machine/rotation/rotation-file';
export { readFirstHosts } from '../machine/setup/first-list';
export { workTreeOf } from '../machine/setup/git-ignore';
export { addHandOver, makeHandOver } from '../machine/setup/hand-over';
export { type Inspected, inspectTrust } from '../machine/setup/inspect';
export { openDevice } from '../machine/setup/open-device';
export { type ResetOptions, readOlderList, resetTrust } from '../machine/setup/reset';
export {
  type Aside,
  type CreateIdentityOptions,
  createIdentity,
  type Published,
} from '../machine/setup/setup';
export { readTakeOver, type TakeOver, type TakeOverOptions, takeOverList } from '../machine/setup/take-over';
export type { WrongCode } from '../pairing/ceremony/target';
export {
  type ControllerPerson,
  type InviteOptions,
  inviteTarget,
} from '../pairing/invite';
export {
  type ListenOptions,
  type ListenResult,
  listenForController,
  type TargetPerson,
} from '../pairing/listen';
export type { Peer } from '../pairing/peer';
export { OtherUrlError } from '../pairing/relay/dial';
export { probeRelay } from '../pairing/relay/probe';
export { DEFAULT_RELAY_URL, toRelayUrl } from '../pairing/relay/url';
export { assertPath, readVariable, VariableError } from '../process/environment';
export { type Env, homeDir } from '../process/home';
export { uselessEntries } from '../proxy/no-proxy';
export { ProxyError } from '../proxy/proxy-error';
export { type HttpProxy, proxyVariables, type Route, readNoProxy, routeTo } from '../proxy/route';
export { openTunnel, type TunnelOptions } from '../proxy/tunnel';
export { fetchUsesProxy } from '../proxy/unused-proxy';
export type { DocumentStore, PageChanges } from '../storage/document-store';
export { userText } from '../storage/files/accounts';
export { FileStore } from '../storage/files/file-store';
export { modelessText } from '../storage/files/modeless-volume';
export { nearestStep, type Step } from '../storage/files/path-steps';
export { IoRedisError } from '../storage/redis/load';
export { probeRedis } from '../storage/redis/probe';
export type { RedisProblem } from '../storage/redis/problem';
export {
  addDevice,
  allowScopes,
  confirmDevice,
  denyScopes,
  dismissController,
  type NewDevice,
  renameDevice,
  revokeDevice,
  setHosts,
} from '../trust/changes';
export { cutKeys, type EndedDelegation, endDelegation, endedDelegations } from '../trust/delegations';
export type { Device } from '../trust/device';
export { NoIdentityError } from '../trust/errors/no-identity';
export { assertFolder, type FolderFinding, inspectFolder } from '../trust/folder-safety';
export type { HeadChanges, ReadPage, Revision } from '../trust/format/draft';
export type { DeviceEntry, DeviceLine, Entry, Lease, Tombstone } from '../trust/format/entry';
export { joinList } from '../trust/format/export';
export type { ListHead, PageRef } from '../trust/format/head';
export type { Page, PageContent } from '../trust/format/paged-list';
export type { Grant, IssuedToken, TakenToken } from '../trust/format/tokens';
export { closeGrant, findGrant, grantedDevices, revokeGrant } from '../trust/grants';
export { type DeviceIdentity, readIdentity, renameIdentity } from '../trust/identity';
export type {
  AbsentList,
  ListPlace,
  OpenedList,
  Owner,
  Owners,
  ReplacedList,
} from '../trust/list/list-place';
export type { ListTrust } from '../trust/list/list-reader';
export { type MissingPart, readableDevices } from '../trust/list/readable';
export type { PastReset, Seen } from '../trust/list/seen-in-memory';
export { findDevice, lookUp, namesakesOf } from '../trust/look-up';
export { cleanName } from '../trust/names';
export {
  type OwnList,
  readListTrust,
  readTrustVariables,
  type TrustVariables,
  trustOf,
} from '../trust/owner-key';
export { type WhyNot, whyNot } from '../trust/rights/can';
export { dueWarning, type Ending, endingOf, WARNING_DAYS } from '../trust/rights/ends';
export { MAX_SCOPES, toScopes } from '../trust/rights/scopes';
export { type Conflict, conflictsOf } from '../trust/rotation/conflicts';
export {
  type AcceptRotation,
  acceptSuccessor,
  type PendingRotation,
  pendingOf,
  refuseSuccessor,
} from '../trust/rotation/successor';
export { cancelToken, findIssued, pendingTokens } from '../trust/tokens';
export { fromTrustLine, type TrustLine, toTrustLine } from '../trust/trust-line';
