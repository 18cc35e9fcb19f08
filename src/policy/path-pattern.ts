// Path patterns of profiles and policies: a plain path covers its subtree, `*` one segment or part, `**` any number, `$` ends.

/** Whether a normalised path matches a pattern (see ClassRule.pattern). Linear in the length of the path. */
export function matchesPath(pattern: string, path: string): boolean {
  if (pattern.includes('*')) return matchesGlob(pattern, path)
  if (pattern.endsWith('$')) return path.length === pattern.length - 1 && pattern.startsWith(path)
  if (!path.startsWith(pattern)) return false
  return path.length === pattern.length || pattern.endsWith('/') || path.charCodeAt(pattern.length) === 0x2f
}

const compiled = new Map<string, RegExp>()

function matchesGlob(pattern: string, path: string): boolean {
  let expression = compiled.get(pattern)
  if (expression === undefined) {
    expression = globToExpression(pattern)
    compiled.set(pattern, expression)
  }
  return expression.test(path)
}

function globToExpression(pattern: string): RegExp {
  const exact = pattern.endsWith('$')
  const body = (exact ? pattern.slice(0, -1) : pattern)
    .replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll(/\*{2,}/g, '\u0000')
    .replaceAll('*', '[^/]*')
    .replaceAll('\u0000', '.*')
  const subtree = exact || body.endsWith('/') ? '' : '(?:/.*)?'
  return new RegExp(`^${body}${subtree}$`, 's')
}
