import { UsageError } from '../errors/errors';

export const PORT_ARG = {
  type: 'string',
  valueHint: 'n',
  description: 'The port on which the relay listens; default 3001',
} as const;

/** @throws UsageError */
export function toPort(text: string | undefined, unset = 3001): number {
  if (text === undefined) return unset;
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new UsageError('--port must be a number from 0 to 65535.');
  return Number(text);
}
