export { streamUnverifiedBody } from '../core/verify/options';
export { verify } from '../machine/default/hono.web';
