import { isAmeshError } from '../../core/errors/amesh-error';
import { requestOf } from '../../core/sign/sent-request';
import type { Device } from '../../trust/device';
import { REGISTRATION_HEADER, takeRegistration } from './registration';

/**
 * Records a machine that says in its response that it took a token of this device.
 *
 * @param tell logs a line once
 */
export async function takeAnswer(
  response: Response,
  device: () => Promise<Device>,
  tell: (line: string) => void,
): Promise<void> {
  const text = response.headers.get(REGISTRATION_HEADER);
  const answered = requestOf(response);
  if (text === null || answered === undefined) return;
  try {
    await takeRegistration(await device(), text, answered, () =>
      tell(
        `A registration in a response of ${answered.authority} is not proven, so nothing was changed. Somebody between this machine and the other one may have made it.`,
      ),
    );
  } catch (error) {
    // The caller gets its response, even if the folder is read-only.
    if (isAmeshError(error) && error.code.startsWith('token_'))
      tell(`${error.code}, at ${answered.authority}: ${error.message}`);
  }
}
