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
export { TOKEN_LIMITS } from '../bootstrap/tokens/token';
export {
  type IssueAnswerKeyOptions,
  type IssuedAnswerKey,
  issueAnswerKey,
} from '../core/answers/issue-answer-key';
export { type ListOwners, type MountedKey, NoAnswerKey, readAnswerKey } from '../core/answers/mounted-key';
export { SENDS_ONCE } from '../core/hints/sends-once';
export type { RotationAnswer } from '../core/rotation/field';
export {
  type IssueDelegationOptions,
  type IssuedDelegation,
  issueDelegation,
  type TargetKey,
} from '../core/statements/issue-delegation';
export { isDelegateName } from '../core/statements/read-statement';
export { besideDelegation } from '../machine/delegate';
export { loadLate } from '../machine/load-late';
export {
  type Finished,
  type FinishOptions,
  finishRotation,
} from '../machine/rotate/finish';
export { knownSigner } from '../machine/rotate/known-signer';
export { type RotateOptions, type Rotating, rotateKey } from '../machine/rotate/start';
export {
  type Addressed,
  type TellOptions,
  type Told,
  type ToldRotation,
  targetsAt,
  tellTargets,
} from '../machine/rotate/tell';
export { type Withdrawn, type WithdrawOptions, withdrawRotation } from '../machine/rotate/withdraw';
export type { TargetAnswer } from '../machine/rotation/ask-target';
export { workTreeOf } from '../machine/setup/git-ignore';
export { addHandOver, makeHandOver } from '../machine/setup/hand-over';
export { type Inspected, inspectTrust } from '../machine/setup/inspect';
export { type ResetOptions, readOlderList, resetTrust } from '../machine/setup/reset';
export {
  type Aside,
  type CreateIdentityOptions,
  createIdentity,
  type Published,
} from '../machine/setup/setup';
export {
  readTakeOver,
  type TakenOver,
  type TakeOver,
  type TakeOverOptions,
  takeOverList,
} from '../machine/setup/take-over';
export {
  type Trial,
  type TrialOptions,
  type TriedMachine,
  trialOfDelegate,
  trialOfMachine,
} from '../machine/trial/trial';
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
export { uselessEntries } from '../proxy/no-proxy';
export { ProxyError } from '../proxy/proxy-error';
export { type HttpProxy, proxyVariables, type Route, readNoProxy, routeTo } from '../proxy/route';
export { openTunnel, type TunnelOptions } from '../proxy/tunnel';
export { fetchUsesProxy } from '../proxy/unused-proxy';
export { IoRedisError } from '../storage/redis/load';
export { probeRedis } from '../storage/redis/probe';
export type { RedisProblem } from '../storage/redis/problem';
export * from './admin/list';
