/** Whether a Content-Encoding changes the bytes of a body. `identity` is none: it means that they are as they were. */
export function isCoded(coding: string | null | undefined): coding is string {
  return !/^(?:identity)?$/i.test(coding ?? '');
}
