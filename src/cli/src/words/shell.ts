/**
 * Text as one argument for a shell. What is plain stays readable; everything else gets the quotes in which a shell
 * replaces nothing, since names come from peers and these lines are made to be pasted.
 */
export function shellWord(text: string): string {
  if (/^[\w.,:@+=/-]+$/.test(text)) return text;
  return /^[\w .,:@+=/-]*$/.test(text) ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A device for a command line: its name where that is one plain word, else its id. */
export function nameForCommand(device: { friendlyName: string; deviceId: string }): string {
  return /^[A-Za-z0-9][\w.-]*$/.test(device.friendlyName) ? device.friendlyName : device.deviceId;
}
