// Comma-separated values: written so that no spreadsheet takes a cell for a formula, and read within limits.

/** One line of CSV. Cells that a spreadsheet would calculate are made text by an apostrophe. */
export function csvLine(cells: readonly (string | number | null)[]): string {
  return cells
    .map(cell => {
      if (cell === null) return ''
      const text = typeof cell === 'number' ? String(cell) : cell
      // A tab or line end could begin a formula in the next cell; no value here has one for a good reason.
      const plain = text.replaceAll(/\p{Cc}/gu, ' ')
      const safe = typeof cell === 'string' && /^[=+\-@]/.test(plain) ? `'${plain}` : plain
      return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
    })
    .join(',')
}

/** Bounds of a list that is read. */
export const CSV_LIMITS = { bytes: 32 * 1024 * 1024, rows: 500_000, columns: 256, cell: 4_096 } as const

/** What could not be read, and where. Rows count from 1. */
export type CsvProblem = { readonly row: number; readonly message: string }

/**
 * Reads CSV (RFC 4180) with comma, semicolon or tab, whichever the first line has most of. Line ends may be of any kind, and a
 * byte order mark is skipped.
 */
export function readCsv(text: string): readonly (readonly string[])[] | CsvProblem {
  const start = text.startsWith('\ufeff') ? 1 : 0
  const separator = separatorOf(text.slice(start, start + 16_384))
  const rows: string[][] = []
  let row: string[] = []
  let at = start
  while (at <= text.length) {
    const cell = readCell(text, at, separator)
    if (typeof cell === 'string') return { row: rows.length + 1, message: cell }
    row.push(cell.value)
    if (row.length > CSV_LIMITS.columns)
      return { row: rows.length + 1, message: `more than ${CSV_LIMITS.columns} columns` }
    at = cell.next
    if (text[at] === separator) {
      at++
      continue
    }
    if (row.length > 1 || row[0] !== '') rows.push(row)
    if (rows.length > CSV_LIMITS.rows)
      return { row: rows.length, message: `more than ${CSV_LIMITS.rows} rows` }
    row = []
    if (at >= text.length) break
    at += text[at] === '\r' && text[at + 1] === '\n' ? 2 : 1
  }
  return rows
}

function separatorOf(text: string): string {
  const line = /^[^\r\n]*/.exec(text)?.[0] ?? ''
  const counts = [',', ';', '\t'].map(separator => ({ separator, count: line.split(separator).length }))
  return counts.reduce((best, one) => (one.count > best.count ? one : best)).separator
}

function readCell(
  text: string,
  at: number,
  separator: string,
): { readonly value: string; readonly next: number } | string {
  if (text[at] !== '"') {
    let end = at
    while (end < text.length && text[end] !== separator && text[end] !== '\n' && text[end] !== '\r') end++
    if (end - at > CSV_LIMITS.cell) return `a cell has more than ${CSV_LIMITS.cell} characters`
    return { value: text.slice(at, end).trim(), next: end }
  }
  let value = ''
  for (let from = at + 1; ;) {
    const quote = text.indexOf('"', from)
    if (quote < 0) return 'a quotation mark is never closed'
    value += text.slice(from, quote)
    if (value.length > CSV_LIMITS.cell) return `a cell has more than ${CSV_LIMITS.cell} characters`
    if (text[quote + 1] !== '"') {
      const next = quote + 1
      const follows = text[next]
      if (follows !== undefined && follows !== separator && follows !== '\n' && follows !== '\r')
        return 'something follows a closing quotation mark'
      return { value: value.trim(), next }
    }
    value += '"'
    from = quote + 2
  }
}
