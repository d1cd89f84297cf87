import { IoRedisError } from './load';

/**
 * What an error of ioredis says, without what was sent: it holds the command, and a server that does not know that
 * command repeats its arguments. Those of AUTH are a password.
 */
export function toReason(error: Error): Error {
  if (error instanceof IoRedisError) return error;
  return new Error(error.message.replace(/, with args beginning with: .*/s, ''));
}
