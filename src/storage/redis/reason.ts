import { IoRedisError } from './load';

/**
 * The message of an ioredis error, without the command that was sent: a server that does not know a command repeats its
 * arguments, and those of AUTH are a password.
 */
export function toReason(error: Error): Error {
  if (error instanceof IoRedisError) return error;
  return new Error(error.message.replace(/, with args beginning with: .*/s, ''));
}
