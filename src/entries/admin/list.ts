/**
 * The part of `@authmesh/sdk/admin` that reads and changes the identity and the allow list of this machine. It loads in a fraction
 * of the time, which matters in a command that does little else.
 *
 * Unstable: this API may change in any minor release before 1.0. Pin the exact version if you use it.
 *
 * @experimental
 * @module
 */

export { covers, isScope } from '../../core/devices/scopes';
export { STATEMENT_LIMITS } from '../../core/statements/statement';
export { isLoopback, parseHosts, portOf } from '../../core/wire/authority';
export { withoutMembers } from '../../core/wire/dictionary';
export type { KeyBackend, KeyContext } from '../../keys/backend';
export { BACKENDS, findBackend } from '../../keys/backends';
export { assertPassphraseVariables } from '../../keys/passphrase';
export { testKey } from '../../keys/test-key';
export type {
  LastSeenRecord,
  ListDraft,
  ListStore,
  PagedList,
  ParsedDevices,
} from '../../machine/admin-types';
export { issuedAtOf } from '../../machine/rotation/change-rotation';
export { ownTrust } from '../../machine/rotation/own-trust';
export {
  hasSaid,
  type Listed,
  type OwnRotation,
  readRotationFile,
  type ToldState,
  type ToldTarget,
} from '../../machine/rotation/rotation-file';
export { readFirstHosts } from '../../machine/setup/first-list';
export { openDevice } from '../../machine/setup/open-device';
export { assertPath, readVariable, VariableError } from '../../process/environment';
export { type Env, homeDir } from '../../process/home';
export type { DocumentStore, PageChanges } from '../../storage/document-store';
export { userText } from '../../storage/files/accounts';
export { FileStore } from '../../storage/files/file-store';
export { modelessText } from '../../storage/files/modeless-volume';
export { nearestStep, type Step } from '../../storage/files/path-steps';
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
} from '../../trust/changes';
export { cutKeys, type EndedDelegation, endDelegation, endedDelegations } from '../../trust/delegations';
export type { Device } from '../../trust/device';
export { NoIdentityError } from '../../trust/errors/no-identity';
export { assertFolder, type FolderFinding, inspectFolder } from '../../trust/folder-safety';
export type { HeadChanges, ReadPage, Revision } from '../../trust/format/draft';
export type { DeviceEntry, DeviceLine, Entry, Lease, Tombstone } from '../../trust/format/entry';
export { joinList } from '../../trust/format/export';
export type { ListHead, PageRef } from '../../trust/format/head';
export type { Page, PageContent } from '../../trust/format/paged-list';
export type { Grant, IssuedToken, TakenToken } from '../../trust/format/tokens';
export { closeGrant, findGrant, grantedDevices, revokeGrant } from '../../trust/grants';
export { type DeviceIdentity, readIdentity, renameIdentity } from '../../trust/identity';
export type {
  AbsentList,
  ListPlace,
  OpenedList,
  Owner,
  Owners,
  ReplacedList,
} from '../../trust/list/list-place';
export type { ListTrust } from '../../trust/list/list-reader';
export { type MissingPart, readableDevices } from '../../trust/list/readable';
export type { PastReset, Seen } from '../../trust/list/seen-in-memory';
export { findDevice, lookUp, namesakesOf } from '../../trust/look-up';
export { cleanName } from '../../trust/names';
export {
  type OwnList,
  readListTrust,
  readTrustVariables,
  type TrustVariables,
  trustOf,
} from '../../trust/owner-key';
export { type WhyNot, whyEnded, whyNot } from '../../trust/rights/can';
export { dueWarning, type Ending, endingOf, WARNING_DAYS } from '../../trust/rights/ends';
export { MAX_SCOPES, toScopes } from '../../trust/rights/scopes';
export { type Conflict, conflictsOf } from '../../trust/rotation/conflicts';
export {
  type AcceptRotation,
  acceptSuccessor,
  type PendingRotation,
  pendingOf,
  refuseSuccessor,
} from '../../trust/rotation/successor';
export { cancelToken, findIssued, pendingTokens } from '../../trust/tokens';
export { fromTrustLine, type TrustLine, toTrustLine } from '../../trust/trust-line';
