/** The picture of two screens, as SVG. */
export function drawPairing(target: string, controller: string): string;
/** The two screens in a page's text. */
export function screensOf(page: string): [target: string, controller: string];
