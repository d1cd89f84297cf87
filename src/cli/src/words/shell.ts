/**
 * Quotes text as one shell argument. Plain text stays as it is. Everything else gets quotes that prevent any expansion,
 * since names come from peers, and users paste these lines.
 */
export function shellWord(text: string): string {
  if (/^[\w.,:@+=/-]+$/.test(text)) return text;
  return /^[\w .,:@+=/-]*$/.test(text) ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * How to name a device on a command line if no other device has its name: by the name if it is one plain word, otherwise by the ID.
 */
export function nameForCommand(device: { friendlyName: string; deviceId: string }): string {
  return /^[A-Za-z0-9][\w.-]*$/.test(device.friendlyName) ? device.friendlyName : device.deviceId;
}
