/** The picture of a page's rooms and walks, as SVG. */
export function drawArchitecture(page: string): string;
/** The rooms in a page's table, each with the rooms that it imports. */
export function roomsOf(page: string): Record<string, string[]>;
/** The steps of the numbered lists below a heading: one array for each list. */
export function stepsOf(page: string, heading: string): { number: number; file: string; room: string }[][];
