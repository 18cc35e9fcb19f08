// PURE. What changed between two texts, line by line: the longest common part stays, with a few lines around each change.

/** A line of a difference. `gap`: unchanged lines that are left out. */
export type DiffLine = { readonly kind: 'same' | 'added' | 'removed' | 'gap'; readonly text: string }

/** Beyond this many changed lines on both sides together, the middle is shown as replaced as a whole. */
const MAX_CELLS = 4_000_000
const AROUND = 3

/** The difference; empty when the texts are equal. */
export function textDiff(before: string, after: string): readonly DiffLine[] {
  const old = linesOf(before)
  const now = linesOf(after)
  let start = 0
  while (start < old.length && start < now.length && old[start] === now[start]) start++
  let end = 0
  while (
    end < old.length - start &&
    end < now.length - start &&
    old[old.length - 1 - end] === now[now.length - 1 - end]
  )
    end++
  if (start === old.length && start === now.length) return []
  const middle = changed(old.slice(start, old.length - end), now.slice(start, now.length - end))
  const all = [...old.slice(0, start).map(same), ...middle, ...old.slice(old.length - end).map(same)]
  return shortened(all)
}

function linesOf(text: string): readonly string[] {
  if (text === '') return []
  return text.replace(/\n$/, '').split('\n')
}

function same(text: string): DiffLine {
  return { kind: 'same', text }
}

function changed(old: readonly string[], now: readonly string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: 'removed', text })
  const added = (text: string): DiffLine => ({ kind: 'added', text })
  if (old.length * now.length > MAX_CELLS) return [...old.map(removed), ...now.map(added)]
  // Length of the longest common part from here to the end, by line of both texts.
  const width = now.length + 1
  const common = new Uint32Array((old.length + 1) * width)
  for (let row = old.length - 1; row >= 0; row--) {
    for (let column = now.length - 1; column >= 0; column--) {
      common[row * width + column] =
        old[row] === now[column]
          ? (common[(row + 1) * width + column + 1] ?? 0) + 1
          : Math.max(common[(row + 1) * width + column] ?? 0, common[row * width + column + 1] ?? 0)
    }
  }
  const lines: DiffLine[] = []
  let row = 0
  let column = 0
  while (row < old.length || column < now.length) {
    const left = old[row]
    const right = now[column]
    if (left !== undefined && left === right) {
      lines.push(same(left))
      row++
      column++
    } else if (
      left !== undefined &&
      (right === undefined ||
        (common[(row + 1) * width + column] ?? 0) >= (common[row * width + column + 1] ?? 0))
    ) {
      lines.push(removed(left))
      row++
    } else {
      lines.push(added(right ?? ''))
      column++
    }
  }
  return lines
}

/** Leaves out what is far from any change. */
function shortened(lines: readonly DiffLine[]): readonly DiffLine[] {
  const near = new Set<number>()
  for (const [index, line] of lines.entries()) {
    if (line.kind === 'same') continue
    for (let at = index - AROUND; at <= index + AROUND; at++) near.add(at)
  }
  const out: DiffLine[] = []
  let left = 0
  for (const [index, line] of lines.entries()) {
    if (near.has(index)) {
      if (left > 0) out.push({ kind: 'gap', text: String(left) })
      left = 0
      out.push(line)
    } else left++
  }
  if (left > 0) out.push({ kind: 'gap', text: String(left) })
  return out
}
