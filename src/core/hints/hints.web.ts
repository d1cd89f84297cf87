import type {
  clockHint as Clock,
  createExplain as Create,
  hintFor as Hint,
  hostFix as HostFix,
  retryHint as Retry,
} from './hints';

/** Runtimes without files get no hints, which would cost bytes in the bundle. */
export const createExplain: (allowList: object) => ReturnType<typeof Create> | undefined = () => undefined;
export const hintFor: typeof Hint = () => ({});
export const clockHint: typeof Clock = () => null;
export const retryHint: typeof Retry = () => '';
export const hostFix: typeof HostFix = (configured) =>
  configured && { fix: 'If callers use it, add it to verify({ hosts }) or AMESH_HOSTS.' };
