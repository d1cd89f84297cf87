/** How a value gets wrong in a file that no shell reads, and how the refusal goes on behind the name. */
export const WRONG_VALUES: readonly (readonly [
  what: string,
  spoil: (right: string) => string,
  reason: string,
])[] = [
  ['in double quotes', (right) => `"${right}"`, 'has quotes around it'],
  ['in single quotes', (right) => `'${right}'`, 'has quotes around it'],
  ['in curly quotes', (right) => `“${right}”`, 'has quotes around it'],
  ['with a quote before it', (right) => `"${right}`, 'has quotes around it'],
  ['with a carriage return', (right) => `${right}\r`, 'ends with a carriage return'],
  ['with a line feed', (right) => `${right}\n`, 'begins or ends with a space or a line end'],
  ['with a blank before it', (right) => ` ${right}`, 'begins or ends with a space or a line end'],
  ['with a tab after it', (right) => `${right}\t`, 'begins or ends with a space or a line end'],
  ['of blanks', () => '  ', 'contains only spaces'],
  ['empty', () => '', 'is empty'],
];

/** Nobody means these in a passphrase either; all else are characters like others. */
export function isNonePassphrase(what: string): boolean {
  return ['with a carriage return', 'with a line feed', 'of blanks', 'empty'].includes(what);
}

/** What would become folders of these names. */
export const WRONG_FOLDERS: readonly (readonly [value: string, reason: string])[] = [
  ['~', 'begins with ~'],
  ['~/x', 'begins with ~'],
  ['~root/x', 'begins with ~'],
  ['$HOME/x', 'contains a variable'],
  [`/srv/$${'{NAME}'}`, 'contains a variable'],
  ['%APPDATA%\\amesh', 'contains a variable'],
  ['file:///srv/amesh', 'is a URL'],
  ['/srv/amesh # ours', 'contains a comment'],
  ['/srv/a\u0000mesh', 'contains a control character'],
];
