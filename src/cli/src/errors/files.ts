import { CommandError } from './errors';

/** The file of a flag. @throws CommandError `file_system_error` */
export function unreadable(flag: string, { message }: Error): CommandError {
  return new CommandError(
    'file_system_error',
    `The file of ${flag} cannot be read: ${message}.`,
    'Check the path.',
  );
}
