// portcullis sites: every recorded site, what came from it in the last day, and which exceptions it has.
import { summariseActivity } from '../../diagnose/activity.ts'
import { siteOfOpening } from '../../journal/store-openings.ts'
import type { OverlayEntry } from '../../journal/store-overlay.ts'
import { checkInEvery, punctuality, type Punctuality } from '../../policy/check-in.ts'
import { REASONS } from '../../policy/reasons.ts'
import type { Site } from '../../policy/snapshot.ts'
import type { Command } from '../command.ts'
import { formatAgo, formatTime, parseDuration } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import { usageError } from '../command.ts'
import type { Terminal } from '../terminal.ts'

const MAX_SOURCES = 500

type SiteReport = {
  readonly id: string
  readonly name: string
  readonly addresses: readonly string[]
  readonly sources: number
  readonly passed: number
  readonly refused: number
  readonly lastCheckInMs: number | null
  /** By how often agents of its product check in; null: nobody knows, or none came. */
  readonly checkIns: Punctuality | null
  readonly topRefusal: string | null
  readonly tlsExceptionUntilMs: number | null
  /** Until when class enroll is open by `portcullis enroll open`; null: it is not. */
  readonly enrollOpenUntilMs: number | null
}

export const sitesCommand: Command = {
  name: 'sites',
  usage: 'sites [<site>] [--since 24h]',
  summary: 'Recorded sites and what came from them',
  examples: ['portcullis sites', 'portcullis sites acme --since 7d'],
  options: { since: { type: 'string', value: '<time>', help: 'how far back: 4h, 7d (default: 24h)' } },
  run: async (args, context) => {
    const { terminal } = context
    const { snapshot } = requirePolicy(args, context)
    const wanted = args.positionals[0]
    const since = parseDuration(args.text('since') ?? '24h')
    if (since === undefined)
      throw usageError(`"${args.text('since') ?? ''}" is not a time`, 'Write 4h or 7d.')
    const sites = snapshot.sites.filter(site => wanted === undefined || site.id === wanted)
    if (wanted !== undefined && sites.length === 0) {
      throw usageError(
        `there is no site "${wanted}"`,
        `Sites are ${snapshot.sites.map(site => site.id).join(', ') || 'not recorded yet'}.`,
      )
    }
    await askGate(snapshot, 'POST', '/v1/flush')
    const nowMs = context.nowMs()
    const store = openStore(snapshot)
    const reports = sites.map((site): SiteReport => {
      const rows = site.ranges.flatMap(
        range => store?.ledger.ofRange(range, nowMs - since, MAX_SOURCES) ?? [],
      )
      const activity = summariseActivity(rows, nowMs - since)
      const top = activity.outcomes
        .filter(entry => entry.outcome !== 'silent')
        .sort((a, b) => b.count - a.count)[0]
      const agents = activity.classes.find(entry => entry.class === 'agent')
      const everyMs = checkInEvery(snapshot, agents?.hosts ?? [])
      const lastCheckInMs = agents?.lastMs ?? null
      return {
        id: site.id,
        name: site.name,
        addresses: site.ranges.map(range => range.text.replace(/\/(?:32|128)$/, '')),
        sources: new Set(rows.map(row => row.source)).size,
        passed: activity.passed,
        refused: activity.refused,
        lastCheckInMs,
        checkIns:
          everyMs === null || lastCheckInMs === null ? null : punctuality(nowMs - lastCheckInMs, everyMs),
        topRefusal: top === undefined ? null : top.outcome,
        tlsExceptionUntilMs: site.tlsException?.expiresMs ?? null,
        enrollOpenUntilMs: openUntil(store?.overlay.list() ?? [], site.id, nowMs),
      }
    })
    store?.close()
    if (args.flag('json')) terminal.json(reports)
    else if (reports.length === 0)
      terminal.print('No site is recorded. Sites are customer locations: add them under sites in the policy.')
    else show(reports, sites, nowMs, terminal)
    return 0
  },
}

function show(
  reports: readonly SiteReport[],
  sites: readonly Site[],
  nowMs: number,
  terminal: Terminal,
): void {
  const head = ['site', 'name', 'sources', 'passed', 'refused', 'last check-in', 'notes'].map(word =>
    terminal.tone('dim', word),
  )
  const rows = reports.map((report, index) => {
    const notes: string[] = []
    if (report.topRefusal !== null) notes.push(`mostly ${becauseOf(report.topRefusal)}`)
    if (report.tlsExceptionUntilMs !== null) {
      notes.push(
        `${sites[index]?.tlsException?.minimum ?? ''} until ${formatTime(report.tlsExceptionUntilMs).slice(0, 10)}`,
      )
    }
    if (report.enrollOpenUntilMs !== null)
      notes.push(terminal.tone('warn', `enroll open until ${formatTime(report.enrollOpenUntilMs)}`))
    return [
      terminal.tone('strong', report.id),
      report.name,
      String(report.sources),
      String(report.passed),
      report.refused === 0 ? '0' : terminal.tone('bad', String(report.refused)),
      lastWords(report, nowMs, terminal),
      notes.join('; '),
    ]
  })
  terminal.print(terminal.table([head, ...rows]))
}

/** `2 minutes ago`, `20 minutes ago: gone`, `never`. */
function lastWords({ lastCheckInMs, checkIns }: SiteReport, nowMs: number, terminal: Terminal): string {
  if (lastCheckInMs === null) return terminal.tone('warn', 'never')
  const ago = formatAgo(lastCheckInMs, nowMs)
  if (checkIns === 'gone') return terminal.tone('bad', `${ago}: gone`)
  return checkIns === 'late' ? terminal.tone('warn', `${ago}: late`) : ago
}

function openUntil(entries: readonly OverlayEntry[], site: string, nowMs: number): number | null {
  const ends = entries
    .filter(entry => entry.kind === 'opening' && siteOfOpening(entry.range) === site)
    .map(entry => entry.expiresMs ?? 0)
    .filter(end => end > nowMs)
  return ends.length === 0 ? null : Math.max(...ends)
}

function becauseOf(outcome: string): string {
  return Object.hasOwn(REASONS, outcome) ? REASONS[outcome as keyof typeof REASONS].because : outcome
}
