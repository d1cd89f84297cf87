/** Whether a value is a number in a range: text such as `'30'` would count as one until it is added to another. */
export function isWithin(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && value >= least && value <= most;
}

/**
 * A promise, a Map or an array has none of the names, and would count as an object that leaves everything out.
 *
 * @throws TypeError
 */
export function assertOptions(where: string, options: object): void {
  const isObject = typeof options === 'object' && options !== null;
  if (!isObject || Symbol.iterator in options || 'then' in options)
    throw new TypeError(`${where} takes an object of options.`);
}

/** A misspelt option that is silently ignored weakens what its owner believes to have set. */
export function assertOptionNames(where: string, options: object, names: ReadonlySet<string | symbol>): void {
  assertOptions(where, options);
  const known = [...names].filter((name) => typeof name === 'string');
  for (const name of [...Object.keys(options), ...Object.getOwnPropertySymbols(options)]) {
    if (names.has(name)) continue;
    const shown = typeof name === 'symbol' ? String(name) : JSON.stringify(name);
    throw new TypeError(`${where} has no option ${shown}. It has: ${known.join(', ')}.`);
  }
}
