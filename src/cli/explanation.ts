// How an explanation reads: standing, countries, TLS, classes and steps, as aligned text or as plain JSON.
import { addressScope } from '../net/address.ts'
import { SCOPE_WORDS } from '../admin/status.ts'
import type { DatabaseState } from '../geo/country-lookup.ts'
import type { Explanation } from '../policy/explain.ts'
import { REASONS } from '../policy/reasons.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import type { Refusal, Step } from '../policy/verdict.ts'
import { formatAgo, formatTime } from './format.ts'
import type { Terminal } from './terminal.ts'

/** Who the source is: address, countries with the age of each database, site, allow and ban. */
export function standingLines(
  { standing, country }: Explanation,
  databases: readonly DatabaseState[],
  nowMs: number,
  terminal: Terminal,
): readonly string[] {
  const { source, site, allow, ban, trusted } = standing
  const rows: string[][] = [
    [
      'Address',
      `${terminal.tone('strong', source.address.text)} (${SCOPE_WORDS[addressScope(source.address)]})`,
    ],
  ]
  const { resolved } = country
  if (resolved.kind === 'country' && resolved.override !== null) {
    rows.push(['Country', `${resolved.code} by override, ${formatSourceLine(resolved.override)}`])
  }
  if (databases.length === 0) rows.push(['Country', terminal.tone('bad', 'no database is loaded')])
  if (addressScope(source.address) === 'public') {
    for (const { role, type, builtMs } of databases) {
      const answer = (role === 'first' ? country.first : country.second) ?? 'no answer'
      rows.push([
        role === 'first' ? 'Country' : '',
        `${answer}  by ${type}, built ${formatAgo(builtMs, nowMs)}`,
      ])
    }
    if (country.first !== null && country.second !== null && country.first !== country.second) {
      rows.push(['', terminal.tone('warn', 'The databases disagree; the first one decides.')])
    }
  }
  rows.push([
    'Site',
    site === null ? 'none recorded' : `${site.id}, ${site.name} (${formatSourceLine(site.at)})`,
  ])
  if (trusted !== null) rows.push(['Trusted', `${trusted.value} (${formatSourceLine(trusted.at)})`])
  if (allow !== null)
    rows.push([
      'Allow',
      `${allow.range.text}: ${allow.reason}, by ${allow.owner}${until(allow.expiresMs)} ${formatSourceLine(allow.at)}`,
    ])
  if (ban !== null)
    rows.push([
      'Ban',
      terminal.tone(
        'bad',
        `${ban.range.text}: ${ban.reason}, by ${ban.owner}${until(ban.expiresMs)} ${formatSourceLine(ban.at)}`,
      ),
    ])
  return [terminal.table(rows)]
}

function until(expiresMs: number | null): string {
  return expiresMs === null ? '' : `, until ${formatTime(expiresMs)}`
}

/** What the source gets: connection, lowest TLS version, every class. */
export function accessLines(explanation: Explanation, terminal: Terminal): readonly string[] {
  const { accept, lowestTls, classes, host } = explanation
  const rows: string[][] = []
  const { verdict } = accept
  rows.push([
    'connection',
    verdict.allow ? terminal.tone('good', 'admitted') : terminal.tone('bad', 'refused'),
    verdict.allow ? '' : refusalWords(verdict.refusal),
  ])
  if (verdict.allow) {
    const lowest = lowestTls ?? 'none'
    rows.push([
      'TLS',
      lowestTls === null ? terminal.tone('bad', 'refused') : terminal.tone('good', `${lowest} and up`),
      host === null ? '' : `for ${host}`,
    ])
  }
  for (const entry of classes) {
    const words = entry.refusal === null ? formatSourceLine(entry.line) : refusalWords(entry.refusal)
    const key = entry.needsKey === null ? '' : `, with the key of ${formatSourceLine(entry.needsKey)}`
    rows.push([
      entry.class,
      entry.allowed ? terminal.tone('good', 'open') : terminal.tone('bad', 'refused'),
      words + key,
    ])
  }
  return [terminal.table(rows, '  ')]
}

/** `no part of the server is open to the country of the address: CN (policies/portcullis.yaml:3:7)`. */
export function refusalWords({ reason, saw, line }: Refusal): string {
  return `${REASONS[reason].because}: ${saw} (${formatSourceLine(line)})`
}

/** The steps of one decision. */
export function stepLines(steps: readonly Step[], terminal: Terminal): readonly string[] {
  if (steps.length === 0) return []
  const tone = { pass: 'good', refuse: 'bad', note: 'dim' } as const
  const mark = { pass: '✓', refuse: '✗', note: '·' } as const
  const rows = steps.map(step => [
    terminal.tone(tone[step.outcome], mark[step.outcome]),
    step.stage,
    step.saw,
    step.why,
    terminal.tone('dim', formatSourceLine(step.line)),
  ])
  return [terminal.table(rows, '  ')]
}

/** The explanation as plain data. */
export function explanationJson(explanation: Explanation, databases: readonly DatabaseState[]): unknown {
  const { standing, country, accept, hello, lowestTls, classes, host, request } = explanation
  const refusalJson = (refusal: Refusal | null): unknown =>
    refusal === null
      ? null
      : {
          reason: refusal.reason,
          stage: refusal.stage,
          saw: refusal.saw,
          line: formatSourceLine(refusal.line),
        }
  const stepsJson = (steps: readonly Step[]): unknown =>
    steps.map(step => ({ ...step, line: formatSourceLine(step.line) }))
  const entryJson = (entry: typeof standing.allow): unknown =>
    entry === null
      ? null
      : {
          range: entry.range.text,
          classes: entry.classes === null ? null : [...entry.classes],
          reason: entry.reason,
          owner: entry.owner,
          expiresMs: entry.expiresMs,
          line: formatSourceLine(entry.at),
        }
  return {
    address: standing.source.address.text,
    scope: standing.source.geo.scope,
    country: { resolved: country.resolved, first: country.first, second: country.second },
    databases: databases.map(({ role, type, builtMs, file }) => ({ role, type, builtMs, file })),
    site:
      standing.site === null
        ? null
        : { id: standing.site.id, name: standing.site.name, line: formatSourceLine(standing.site.at) },
    trusted: standing.trusted?.value ?? null,
    allow: entryJson(standing.allow),
    ban: entryJson(standing.ban),
    host,
    connection: {
      allowed: accept.verdict.allow,
      refusal: accept.verdict.allow ? null : refusalJson(accept.verdict.refusal),
      steps: stepsJson(accept.steps),
    },
    lowestTls,
    tls: hello.map(entry => ({
      offered: entry.offered,
      allowed: entry.verdict.allow,
      tlsProfile: entry.verdict.allow ? entry.verdict.tlsProfile : null,
      refusal: entry.verdict.allow ? null : refusalJson(entry.verdict.refusal),
    })),
    classes: classes.map(entry => ({
      class: entry.class,
      allowed: entry.allowed,
      refusal: refusalJson(entry.refusal),
      line: formatSourceLine(entry.line),
      needsKey: entry.needsKey !== null,
    })),
    request:
      request === null
        ? null
        : {
            allowed: request.verdict.allow,
            class: request.verdict.class,
            refusal: request.verdict.allow ? null : refusalJson(request.verdict.refusal),
            hits: request.verdict.hits,
            steps: stepsJson(request.steps),
          },
  }
}
