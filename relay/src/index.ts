export type { Limits } from './limits/limits';
export type { RelayLogEntry } from './log';
export { main } from './main';
export type { RelayEnv } from './net/app';
export type { TrustedProxies } from './net/client-address';
export { createRelay, type Relay, type RelayOptions } from './relay';
export { type StartedRelay, startRelay } from './start';
export type { RedisClient } from './store/redis-client';
export type { ClientFrame, RelayErrorCode, RelayFrame } from './wire/frames';
