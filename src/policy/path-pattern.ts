// Path patterns of profiles and policies: a plain path covers its subtree, `*` one segment or part, `**` any number, `$` ends.

// One piece of a pattern with stars: text; `part` is `*` (no slash), `rest` is `**` (anything),
// `segments` is a `**` between two slashes (any number of whole segments, also none).
type Piece = string | { readonly star: 'part' | 'rest' | 'segments' }

type Compiled = { readonly pieces: readonly Piece[]; readonly end: 'exact' | 'subtree' | 'open' }

/**
 * Whether a normalised path matches a pattern (see ClassRule.pattern).
 * Its time is the length of the path times the number of stars at most: a path cannot make it backtrack.
 */
export function matchesPath(pattern: string, path: string): boolean {
  if (pattern.includes('*')) return matchesGlob(pattern, path)
  if (pattern.endsWith('$')) return path.length === pattern.length - 1 && pattern.startsWith(path)
  if (!path.startsWith(pattern)) return false
  return path.length === pattern.length || pattern.endsWith('/') || path.charCodeAt(pattern.length) === SLASH
}

const SLASH = 0x2f
// Patterns come from policy files only, so the number of entries is bounded by what admins write.
const compiled = new Map<string, Compiled>()

function matchesGlob(pattern: string, path: string): boolean {
  let glob = compiled.get(pattern)
  if (glob === undefined) {
    glob = compile(pattern)
    compiled.set(pattern, glob)
  }
  const { pieces, end } = glob
  const [first] = pieces
  if (typeof first === 'string' && !path.startsWith(first)) return false
  // reached[i]: the pieces so far can end before character i.
  let reached = new Uint8Array(path.length + 1)
  reached[0] = 1
  for (const piece of pieces) {
    const next = step(piece, path, reached)
    if (next === null) return false
    reached = next
  }
  if (reached[path.length] === 1) return true
  if (end === 'exact') return false
  for (let at = 0; at < path.length; at++) {
    if (reached[at] === 1 && (end === 'open' || path.charCodeAt(at) === SLASH)) return true
  }
  return false
}

/** The positions reachable after one more piece; null: none. */
function step(piece: Piece, path: string, reached: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | null {
  const next = new Uint8Array(path.length + 1)
  let any = false
  let open = false
  for (let at = 0; at <= path.length; at++) {
    const here = reached[at] === 1
    if (typeof piece === 'string') {
      if (here && path.startsWith(piece, at)) {
        next[at + piece.length] = 1
        any = true
      }
      continue
    }
    const afterSlash = at > 0 && path.charCodeAt(at - 1) === SLASH
    if (piece.star === 'part' && afterSlash) open = false
    if (here) open = true
    if (open && (here || piece.star !== 'segments' || afterSlash)) {
      next[at] = 1
      any = true
    }
  }
  return any ? next : null
}

function compile(pattern: string): Compiled {
  const exact = pattern.endsWith('$')
  const body = exact ? pattern.slice(0, -1) : pattern
  const pieces: Piece[] = []
  for (const text of body.split(/(\/\*{2,}\/|\*+)/)) {
    if (text === '') continue
    if (text.startsWith('/**')) pieces.push('/', { star: 'segments' })
    else if (text.startsWith('**')) pieces.push({ star: 'rest' })
    else if (text === '*') pieces.push({ star: 'part' })
    else pieces.push(text)
  }
  return { pieces, end: exact ? 'exact' : body.endsWith('/') ? 'open' : 'subtree' }
}
