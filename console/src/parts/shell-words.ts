/** One argument for a POSIX shell, quoted only where it must be. Line ends and other controls become `$'...'`. Pure. */
export function quote(word: string): string {
  if (word !== '' && /^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(word)) {
    const escaped = Array.from(new TextEncoder().encode(word), (byte) => {
      if (byte === 0x27 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`
      return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`
    })
    return `$'${escaped.join('')}'`
  }
  return `'${word.replaceAll("'", "'\\''")}'`
}

/** A command of the CLI: each word quoted, what is undefined left out. */
export function sengu(...words: (string | undefined)[]): string {
  return ['sengu', ...words.filter((word) => word !== undefined).map(quote)].join(' ')
}

/** The call of the API by curl. The token is read from its file, so it stands in no argument and no history. */
export function curl(origin: string, method: string, path: string, content?: unknown): string {
  const parts = ['curl', '-sS', '-H', '@<(printf "Authorization: Bearer %s" "$(cat "$SENGU_TOKEN_FILE")")']
  if (method !== 'GET') parts.push('-X', method)
  if (content !== undefined) parts.push('-H', quote('Content-Type: application/json'), '-d', quote(JSON.stringify(content)))
  parts.push(quote(origin + path))
  return parts.join(' ')
}
