// Suggestions for misspelt words: the Damerau-Levenshtein distance (optimal string alignment).

/** Number of insertions, deletions, replacements and swaps of neighbours between two words. */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(cell(rows, i - 1, j) + 1, (row[j - 1] ?? 0) + 1, cell(rows, i - 1, j - 1) + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, cell(rows, i - 2, j - 2) + 1)
      }
      row.push(best)
    }
    rows.push(row)
  }
  return cell(rows, a.length, b.length)
}

/** The known word that was probably meant; undefined when none is near. */
export function suggest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > 64) return undefined
  const folded = fold(word)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(folded.length * 0.4)) + 1
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) > 4) continue
    const distance = editDistance(folded, fold(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** `did you mean "x"?`, or the whole choice when nothing is near; null when there is no choice to show. */
export function suggestion(word: string, known: readonly string[]): string | null {
  const near = suggest(word, known)
  if (near !== undefined) return `did you mean "${near}"?`
  if (known.length === 0) return null
  return `known here: ${known.slice(0, 24).join(', ')}${known.length > 24 ? ', ...' : ''}`
}

// Case, dashes and underscores are habits rather than spelling.
function fold(word: string): string {
  return word.toLowerCase().replaceAll(/[-_ ]/g, '')
}

function cell(rows: readonly number[][], row: number, column: number): number {
  return rows[row]?.[column] ?? 0
}
