/**
 * Encodes a form as multipart/form-data. The encoders of runtimes differ. With this one, the bytes are the same everywhere, except
 * for the boundary.
 *
 * @see https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
 */
export async function toMultipart(form: FormData, boundary: string): Promise<Uint8Array<ArrayBuffer>> {
  const parts: (string | Promise<ArrayBuffer>)[] = [];
  for (const [name, value] of form) {
    parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${escapeName(toCrlf(name))}"`);
    if (typeof value === 'string') {
      parts.push(`\r\n\r\n${toCrlf(value)}\r\n`);
      continue;
    }
    const filename = value.name ?? 'blob'; // the standard's name for a Blob, which Bun omits
    const type = value.type || 'application/octet-stream';
    parts.push(
      `; filename="${escapeName(filename)}"\r\nContent-Type: ${type}\r\n\r\n`,
      value.arrayBuffer(),
      '\r\n',
    );
  }
  const whole = new Blob([...(await Promise.all(parts)), `--${boundary}--\r\n`]);
  return new Uint8Array(await whole.arrayBuffer());
}

/** A boundary from the runtime, which nobody can guess and put into a field. */
export function newBoundary(): string {
  const type = new Response(new FormData()).headers.get('content-type');
  const boundary = /boundary=([\w-]{8,70})$/.exec(type ?? '')?.[1];
  if (boundary === undefined) throw new TypeError('This runtime has no boundary for a FormData.');
  return boundary;
}

function escapeName(text: string): string {
  return text.replace(/\n/g, '%0A').replace(/\r/g, '%0D').replace(/"/g, '%22');
}

function toCrlf(text: string): string {
  return text.replace(/\r\n|\r|\n/g, '\r\n');
}
