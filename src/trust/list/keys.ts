/** The file of the allow list in its folder. Its pages are in the folder `list` next to it. */
export const ALLOW_LIST_KEY = 'allow_list.json';

/** The folder for its pages. */
export const PAGES_FOLDER = 'list';

/** The key of a list in a store that has the lists of several targets. */
export function sharedKey(list: string): string {
  return `list:${list}`;
}

/** The key of the record that says when the devices of a page were last seen. */
export function lastSeenKey(key: string, prefix: string): string {
  if (key !== ALLOW_LIST_KEY) return `${key}:seen:${prefix}`;
  return prefix === '' ? 'last_seen.txt' : `last_seen.${prefix}.txt`;
}

/** Whether a file name belongs to such a record. */
export function isLastSeen(name: string): boolean {
  return /^last_seen\.(?:[01]{1,96}\.)?txt$/.test(name);
}
