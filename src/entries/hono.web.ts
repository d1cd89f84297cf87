export { hasScope } from '../core/devices/has-scope';
export { streamUnverifiedBody } from '../core/verify/options';
export { verify } from '../machine/default/hono.web';
