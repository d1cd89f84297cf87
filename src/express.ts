import { amesh } from './index';

/** The same as `amesh.verify`, for those who import by name. */
export const verify = amesh.verify;

export type { Authenticated, Middleware } from './adapters/express/middleware';
/** The same as `amesh.rawBody`. */
export { rawBody } from './adapters/node/raw-body';
export { streamUnverifiedBody } from './core/index';
