/** The name under which the allow list lies in its folder. Its pages are in the folder `list` beside it. */
export const ALLOW_LIST_KEY = 'allow_list.json';

/** The folder of its pages. */
export const PAGES_FOLDER = 'list';

/** The name of a list in a store that has those of several targets. */
export function sharedKey(list: string): string {
  return `list:${list}`;
}

/** The name of the record of who was last seen, for a page of the list under a key. */
export function lastSeenKey(key: string, prefix: string): string {
  if (key !== ALLOW_LIST_KEY) return `${key}:seen:${prefix}`;
  return prefix === '' ? 'last_seen.txt' : `last_seen.${prefix}.txt`;
}

/** Whether a file of a folder is such a record. */
export function isLastSeen(name: string): boolean {
  return /^last_seen\.(?:[01]{1,96}\.)?txt$/.test(name);
}
