/**
 * Quotes text as one shell argument. Plain text stays as it is. Everything else gets quotes that prevent any expansion,
 * since names come from peers, and users paste these lines.
 */
export function shellWord(text: string): string {
  if (/^[\w.,:@+=/-]+$/.test(text)) return text;
  return /^[\w .,:@+=/-]*$/.test(text) ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * How to name a device on a command line: by its name if that is one plain word and unique, otherwise by its ID.
 *
 * @param namesakes other devices with that name
 */
export function nameForCommand(
  device: { friendlyName: string; deviceId: string },
  namesakes: readonly unknown[] = [],
): string {
  if (namesakes.length > 0) return device.deviceId;
  return /^[A-Za-z0-9][\w.-]*$/.test(device.friendlyName) ? device.friendlyName : device.deviceId;
}
