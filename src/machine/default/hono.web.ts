import { createVerify } from '../../adapters/hono/verify';
import { toVerifierSource } from './verifier-source.web';

/** As in `hono.ts`, for runtimes without files. */
export const verify = createVerify(toVerifierSource);
