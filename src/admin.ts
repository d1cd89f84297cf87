export { isLoopback, parseHosts, portOf } from './core/authority';
export type { KeyBackend, KeyContext } from './keys/backend';
export { BACKENDS, findBackend } from './keys/backends';
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
export { DEFAULT_RELAY_URL, toRelayUrl } from './pairing/relay-url';
export {
  addDevice,
  confirmDevice,
  findDevice,
  type NewDevice,
  revokeDevice,
  setHosts,
} from './trust/changes';
export { type Device, openDevice } from './trust/device';
export type { AllowListDocument, DeviceEntry, Tombstone } from './trust/document';
export type { DocumentStore } from './trust/document-store';
export { FileStore } from './trust/file-store';
export { type Env, homeDir } from './trust/home';
export { type DeviceIdentity, readIdentity } from './trust/identity';
export { cleanName } from './trust/names';
export { type CreateIdentityOptions, createIdentity, resetTrust } from './trust/setup';
export { fromTrustLine, type TrustLine, toTrustLine } from './trust/trust-line';
