/** Whether a Content-Encoding changes the bytes of a body. `identity` does not, nor does an empty member of the list. */
export function isCoded(coding: string | null | undefined): coding is string {
  return !/^[\s,]*(?:identity\s*(?:$|,[\s,]*))*$/i.test(coding ?? '');
}
