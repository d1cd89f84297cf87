import { UsageError } from '../errors/errors';
import { loadList } from './load';

/**
 * Runs what throws a TypeError for a wrong argument that comes from the command line.
 *
 * @param hint what to do about it
 * @throws UsageError in its place
 */
export async function asUsage<T>(work: Promise<T>, hint?: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const { VariableError } = await loadList();
    // A TypeError with a cause is one of fetch, for which the network failed; a variable has its own message.
    const isOurs =
      error instanceof TypeError && error.cause === undefined && !(error instanceof VariableError);
    throw isOurs ? new UsageError(error.message, { hint }) : error;
  }
}
