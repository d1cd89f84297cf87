export { AmeshNonces, DurableNonceStore } from '../adapters/workers/durable-nonces';
export { proveResponse } from '../core/answers/prove-response';
export { hasScope } from '../core/devices/has-scope';
export { streamUnverifiedBody } from '../core/verify/options';
export { createServerVerifier, withAmesh } from '../machine/default/workers.web';
