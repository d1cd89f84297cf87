import { isAmeshError } from '../../core/errors/amesh-error';
import { answeredBy } from '../../core/sign/answered';
import type { Device } from '../../trust/device';
import { REGISTRATION_HEADER, takeRegistration } from './registration';

/**
 * Takes note of a machine that says in its answer that it has taken a token of this device.
 *
 * @param tell says a line once
 */
export async function takeAnswer(
  response: Response,
  device: () => Promise<Device>,
  tell: (line: string) => void,
): Promise<void> {
  const text = response.headers.get(REGISTRATION_HEADER);
  const answered = answeredBy(response);
  if (text === null || answered === undefined) return;
  try {
    await takeRegistration(await device(), text, answered);
  } catch (error) {
    // The response is what was asked for, and a folder that cannot be written is no reason to lose it.
    if (isAmeshError(error) && error.code.startsWith('token_'))
      tell(`${error.code}, at ${answered.authority}: ${error.message}`);
  }
}
