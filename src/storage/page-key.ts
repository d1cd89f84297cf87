/**
 * The key of a page in a key-value store, where pages have keys next to the document.
 *
 * @param key the key of the document
 * @param name the hash of the page
 */
export function pageKey(key: string, name: string): string {
  return `${key}.pages:${name}`;
}
