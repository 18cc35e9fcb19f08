// The goals that a run is judged by.
import { type Result, ratio, summarise } from './result.ts'
import type { RowId } from '../rows.ts'

const SUBJECT = 'portcullis'

/** A goal: a bound on a ratio to another peer, or on the value itself. */
type Goal = {
  readonly row: RowId
  readonly text: string
  readonly against: string | null
  readonly most: number
  /** Whose value; left out: Portcullis with its own rules. */
  readonly subject?: string
}

const GOALS: readonly Goal[] = [
  { row: 'get', text: 'GET: at most 3 x nginx', against: 'nginx', most: 3 },
  { row: 'get', text: 'GET: at most 0.55 x Caddy', against: 'caddy', most: 0.55 },
  { row: 'get', text: 'GET: at most 1/20 of nginx + ModSecurity + CRS', against: 'nginx+crs', most: 1 / 20 },
  {
    row: 'post',
    text: 'POST: at most 1/50 of nginx + ModSecurity + CRS',
    against: 'nginx+crs',
    most: 1 / 50,
  },
  { row: 'connect', text: 'New connection: at most 1.8 x nginx', against: 'nginx', most: 1.8 },
  ...(['get', 'xml', 'json'] as const).map(kind => ({
    row: `rules-${kind}` as const,
    text: `Imported Core Rule Set, ${kind.toUpperCase()}: at most 1/4 of ModSecurity`,
    against: 'nginx+crs',
    subject: 'portcullis+crs',
    most: 1 / 4,
  })),
  {
    row: 'rules-form',
    text: 'Imported Core Rule Set, 5 KB base64 form: at most 1/2 of ModSecurity',
    against: 'nginx+crs',
    subject: 'portcullis+crs',
    most: 1 / 2,
  },
  // On a core that is busy, throughput is one over CPU per byte; and CPU can be measured where other programs use the core too.
  ...(['download', 'upload'] as const).map(way => ({
    row: `stream-${way}` as const,
    text: `Raw TCP ${way}: at least 60 % of what nginx stream carries on one core`,
    against: 'nginx',
    most: 1 / 0.6,
  })),
  { row: 'websocket', text: 'Idle WebSocket: at most 60 kB', against: null, most: 60 },
]

/** A goal with what was reached; `met` is null when the run did not measure it. */
export type Judged = { readonly text: string; readonly reached: string; readonly met: boolean | null }

/**
 * Judges every goal. A cell with failed requests never meets one.
 * @param slack what every bound is multiplied by
 */
export function judge(result: Result, slack = 1): Judged[] {
  return GOALS.map(goal => {
    const subject = goal.subject ?? SUBJECT
    const cell = result.rows.find(row => row.id === goal.row)?.cells.find(entry => entry.peer === subject)
    const value =
      goal.against === null
        ? cell === undefined
          ? null
          : summarise(cell).value
        : ratio(result, goal.row, subject, goal.against)
    if (cell === undefined || value === null || Number.isNaN(value)) {
      return { text: goal.text, reached: 'not measured', met: null }
    }
    const { failed } = summarise(cell)
    return {
      text: goal.text,
      reached: goal.against === null ? `${value.toFixed(1)} kB` : reachedRatio(value),
      met: failed === 0 && value <= goal.most * slack,
    }
  })
}

function reachedRatio(value: number): string {
  return value < 0.3 ? `1/${(1 / value).toFixed(1)}` : `${value.toFixed(2)} x`
}
