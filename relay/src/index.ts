export type { TrustedProxies } from './client-address';
export type { ClientFrame, RelayErrorCode, RelayFrame } from './frames';
export type { Limits } from './limits';
export { main } from './main';
export { createRelay, type Relay, type RelayEnv, type RelayLogEntry, type RelayOptions } from './relay';
