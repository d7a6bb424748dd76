/** The bytes of base64 text; undefined when it is none. Pure. */
export function bytesOf(base64: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))
  } catch {
    return undefined
  }
}

const ROW = 16

/** A body as text where it is text, otherwise as rows of hexadecimal bytes. Pure. */
export function shownBody(base64: string): { text: string; binary: boolean; length: number } {
  const bytes = bytesOf(base64)
  if (!bytes) return { text: base64, binary: false, length: base64.length }
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    if (!text.includes('\0')) return { text: pretty(text), binary: false, length: bytes.length }
  } catch {
    // The end may be cut within a character; else it is no text at all.
    const text = new TextDecoder('utf-8').decode(bytes)
    if (!text.slice(0, -1).includes('\ufffd') && !text.includes('\0')) return { text: text.replace(/\ufffd$/, ''), binary: false, length: bytes.length }
  }
  return { text: hex(bytes), binary: true, length: bytes.length }
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

function hex(bytes: Uint8Array): string {
  const rows: string[] = []
  for (let at = 0; at < bytes.length; at += ROW) {
    const row = bytes.subarray(at, at + ROW)
    const pairs = Array.from(row, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const chars = Array.from(row, (byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('')
    rows.push(`${at.toString(16).padStart(6, '0')}  ${pairs.padEnd(ROW * 3 - 1)}  ${chars}`)
  }
  return rows.join('\n')
}
