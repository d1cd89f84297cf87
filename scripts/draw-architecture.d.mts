/** The picture of a page's modules and walks, as SVG. */
export function drawArchitecture(page: string): string;
/** The modules in a page's table, each with the modules that it imports. */
export function modulesOf(page: string): Record<string, string[]>;
/** The steps of the numbered lists below a heading: one array for each list. */
export function stepsOf(page: string, heading: string): { number: number; file: string; module: string }[][];
