// Renders a result: aligned text for the terminal, Markdown for docs/performance.md.
import { judge, type Judged } from './goals.ts'
import { ratio, summarise, type Result } from './result.ts'

const BASE = 'nginx'
/** Below this the load generator, not the proxy's core, set the pace. */
const SATURATED = 0.9
/** Below this share of the time in which it wanted to run, caches are too cold for a fair number. */
const FREE = 0.6
const SATURATED_ROWS = new Set([
  'stream-download',
  'stream-upload',
  'get',
  'post',
  'connect',
  'rules-get',
  'rules-xml',
  'rules-json',
  'rules-form',
])

/** Pads the columns of a table; the first one to the right, the others to the left. */
export function align(table: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of table)
    row.forEach((text, column) => (widths[column] = Math.max(widths[column] ?? 0, text.length)))
  return table
    .map(row =>
      row
        .map((text, column) =>
          column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** The whole result for a terminal. */
export function textReport(result: Result): string {
  const parts = [`${result.date}  ${result.machine}`, `upstream: ${result.upstream}`]
  parts.push(
    align(result.peers.map(peer => [`  ${peer.id}`, `${peer.version}; ${peer.tls}`].map(text => text))),
  )
  for (const skip of result.skipped) parts.push(`  left out: ${skip.peer} (${skip.row}): ${skip.reason}`)
  for (const table of rowTables(result)) parts.push(`\n${table.title}\n${align(table.lines)}`)
  parts.push(`\nGoals\n${align(judge(result).map(goal => [mark(goal), goal.text, goal.reached]))}`)
  return parts.join('\n')
}

/** The whole result as Markdown. */
export function markdownReport(result: Result): string {
  const parts = [
    `Measured ${result.date} on ${result.machine}. ${result.rounds} rounds of ${result.seconds} s per measurement; upstream: ${result.upstream}.`,
    markdownTable([
      ['Goal', 'Reached', ''],
      ...judge(result).map(goal => [goal.text, goal.reached, mark(goal)]),
    ]),
  ]
  for (const table of rowTables(result)) parts.push(`**${table.title}**`, markdownTable(table.lines))
  parts.push(
    'Versions and work:',
    result.peers.map(peer => `- \`${peer.id}\`: ${peer.version}; ${peer.tls}. ${peer.work}.`).join('\n'),
  )
  if (result.skipped.length > 0) {
    parts.push(
      'Left out:',
      result.skipped.map(skip => `- \`${skip.peer}\` (${skip.row}): ${skip.reason}`).join('\n'),
    )
  }
  return parts.join('\n\n')
}

/** Puts `content` between the markers of a document. Throws when a marker is missing. */
export function betweenMarkers(document: string, content: string): string {
  const start = document.indexOf(START)
  const end = document.indexOf(END)
  if (start < 0 || end < start) throw new Error(`the document needs the markers ${START} and ${END}`)
  return `${document.slice(0, start + START.length)}\n\n${content}\n\n${document.slice(end)}`
}

const START = '<!-- bench:start -->'
const END = '<!-- bench:end -->'

function rowTables(result: Result): { readonly title: string; readonly lines: string[][] }[] {
  return result.rows.map(row => {
    const lines = [['peer', row.unit, 'spread', `x ${BASE}`, row.second, 'notes']]
    for (const cell of row.cells) {
      const summary = summarise(cell)
      const times = ratio(result, row.id, cell.peer, BASE)
      const notes: string[] = []
      if (summary.failed > 0) notes.push(`${summary.failed} failed: does not count`)
      if (summary.refused > 0) notes.push(`${summary.refused} legitimate requests refused by rules`)
      if (SATURATED_ROWS.has(row.id) && summary.busy < SATURATED) {
        notes.push(`core ${Math.round(summary.busy * 100)} % busy`)
      }
      if (SATURATED_ROWS.has(row.id) && summary.ran < summary.busy * FREE) {
        notes.push('others had its core: repeat on a quiet machine')
      }
      lines.push([
        cell.peer,
        figure(summary.value),
        `${Math.round(summary.spread * 100)} %`,
        times === null ? '' : times.toFixed(2),
        figure(summary.second),
        notes.join('; '),
      ])
    }
    return { title: row.title, lines }
  })
}

function markdownTable(lines: readonly (readonly string[])[]): string {
  const [head = [], ...body] = lines
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => (column === 0 ? '---' : '--:'))), ...body.map(line)].join(
    '\n',
  )
}

function mark(goal: Judged): string {
  if (goal.met === null) return '-'
  return goal.met ? '✓' : '✗'
}

function figure(value: number): string {
  if (Number.isNaN(value)) return '-'
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)
}
