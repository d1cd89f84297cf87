/** Whether a Content-Encoding changes the bytes of a body. `identity` is none, and so is an empty member of the list. */
export function isCoded(coding: string | null | undefined): coding is string {
  return !/^[\s,]*(?:identity\s*(?:$|,[\s,]*))*$/i.test(coding ?? '');
}
