import type {
  clockHint as Clock,
  createExplain as Create,
  hintFor as Hint,
  retryHint as Retry,
} from './hints';

/** Runtimes without files get no hints, which would cost bytes in the bundle. */
export const createExplain: (allowList: object) => ReturnType<typeof Create> | undefined = () => undefined;
export const hintFor: typeof Hint = () => ({});
export const clockHint: typeof Clock = () => null;
export const retryHint: typeof Retry = () => '';
