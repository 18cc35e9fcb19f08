// The difference of two texts, line by line, as people read it: what goes, what comes, and a little around it.
import type { Terminal } from './terminal.ts'

type Line = { readonly sign: ' ' | '-' | '+'; readonly text: string }

const AROUND = 2
/** Beyond this many changed lines the middle is shown as replaced: finding the shortest way would take long. */
const MAX_MIDDLE = 1_500

/** Lines of the difference, with `...` where something is left out; none when the texts are the same. */
function diffLines(before: string, after: string): readonly string[] {
  const lines = difference(linesOf(before), linesOf(after))
  const shown = new Set<number>()
  for (const [index, { sign }] of lines.entries()) {
    if (sign === ' ') continue
    for (let near = index - AROUND; near <= index + AROUND; near++) shown.add(near)
  }
  const out: string[] = []
  let last = -1
  for (const [index, { sign, text }] of lines.entries()) {
    if (!shown.has(index)) continue
    if (last >= 0 && index > last + 1) out.push('...')
    out.push(`${sign} ${text}`.trimEnd())
    last = index
  }
  return out
}

/** The same in colour. */
export function shownDiff(before: string, after: string, terminal: Terminal): readonly string[] {
  return diffLines(before, after).map(line => {
    const tone = line.startsWith('+') ? 'good' : line.startsWith('-') ? 'bad' : 'dim'
    return `  ${terminal.tone(tone, line)}`
  })
}

function linesOf(text: string): readonly string[] {
  return text.replace(/\n$/, '').split('\n')
}

function difference(before: readonly string[], after: readonly string[]): readonly Line[] {
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start++
  let end = 0
  const most = Math.min(before.length, after.length) - start
  while (end < most && before[before.length - 1 - end] === after[after.length - 1 - end]) end++
  const keep = (text: string): Line => ({ sign: ' ', text })
  return [
    ...before.slice(0, start).map(keep),
    ...middle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(keep),
  ]
}

/** Longest common subsequence by dynamic programming. */
function middle(gone: readonly string[], come: readonly string[]): readonly Line[] {
  const less = (text: string): Line => ({ sign: '-', text })
  const more = (text: string): Line => ({ sign: '+', text })
  if (gone.length * come.length > MAX_MIDDLE * MAX_MIDDLE) return [...gone.map(less), ...come.map(more)]
  const width = come.length + 1
  const lengths = new Uint16Array((gone.length + 1) * width)
  for (let i = gone.length - 1; i >= 0; i--) {
    for (let j = come.length - 1; j >= 0; j--) {
      const at = i * width + j
      lengths[at] =
        gone[i] === come[j]
          ? (lengths[at + width + 1] ?? 0) + 1
          : Math.max(lengths[at + width] ?? 0, lengths[at + 1] ?? 0)
    }
  }
  const out: Line[] = []
  let i = 0
  let j = 0
  while (i < gone.length || j < come.length) {
    const [left, right] = [gone[i], come[j]]
    if (left !== undefined && left === right) {
      out.push({ sign: ' ', text: left })
      i++
      j++
    } else if (
      right === undefined ||
      (left !== undefined && (lengths[(i + 1) * width + j] ?? 0) >= (lengths[i * width + j + 1] ?? 0))
    ) {
      out.push(less(left ?? ''))
      i++
    } else {
      out.push(more(right))
      j++
    }
  }
  return out
}
