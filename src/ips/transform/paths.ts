// Paths: doubled slashes, self and parent references.

/** Resolves `//`, `/./` and `/../`; a path that climbs above its root stays at the root, a relative one keeps its first `..`. */
export function normalizePath(value: string): string {
  if (!/\/[/.]|^\.\.?(?:\/|$)/.test(value)) return value
  const isAbsolute = value.startsWith('/')
  const parts = value.split('/')
  const last = parts.at(-1)
  const kept: string[] = []
  for (const part of parts) {
    if (part === '' || part === '.') continue
    if (part !== '..') kept.push(part)
    else if (kept.length > 0 && kept.at(-1) !== '..') kept.pop()
    else if (!isAbsolute) kept.push('..')
  }
  const isFolder = last === '' || last === '.' || last === '..'
  const path = `${isAbsolute ? '/' : ''}${kept.join('/')}`
  return isFolder && kept.length > 0 && kept.at(-1) !== '..' ? `${path}/` : path
}

/** The same after backslashes became slashes. */
export function normalizePathWin(value: string): string {
  return normalizePath(value.includes('\\') ? value.replaceAll('\\', '/') : value)
}
