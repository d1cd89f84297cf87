/**
 * The key of a page in a store of single values: beside the document, as a folder has `allow_list.json` and `list/…` beside
 * each other.
 *
 * @param key of the document
 * @param name the hash of the page
 */
export function pageKey(key: string, name: string): string {
  return `${key}.pages:${name}`;
}
