// How an explanation reads: standing, countries, TLS, classes and steps, as aligned text or as plain JSON.
import { addressScope } from '../net/address.ts'
import { SCOPE_WORDS } from '../admin/status.ts'
import type { DatabaseState } from '../geo/country-lookup.ts'
import type { Explanation } from '../policy/explain.ts'
import { REASONS } from '../policy/reasons.ts'
import type { WouldBe } from '../policy/trial.ts'
import { formatSourceLine, type SourceLine } from '../policy/source-line.ts'
import type { Refusal, Step } from '../policy/verdict.ts'
import { databaseAge, databaseName } from './databases.ts'
import { formatTime, shortRange } from './format.ts'
import type { Terminal } from './terminal.ts'

/** Who the source is: address, countries with the age of each database, site, allow and ban. */
export function standingLines(
  { standing, country }: Explanation,
  databases: readonly DatabaseState[],
  nowMs: number,
  terminal: Terminal,
  indent = '',
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
  const isPublic = addressScope(source.address) === 'public'
  if (isPublic && databases.length === 0)
    rows.push(['Country', terminal.tone('bad', 'no database is loaded')])
  if (isPublic) {
    for (const database of databases) {
      const isFirst = database.role === 'first'
      const answer = (isFirst ? country.first : country.second) ?? 'no answer'
      rows.push([
        isFirst ? 'Country' : '',
        `${answer}, by ${databaseName(database)} (${databaseAge(database, nowMs)})`,
      ])
    }
    if (country.first !== null && country.second !== null && country.first !== country.second) {
      rows.push(['', terminal.tone('warn', 'The databases disagree: the first one decides.')])
    }
  }
  rows.push([
    'Site',
    site === null ? 'none recorded' : `${site.id}, ${site.name} (${formatSourceLine(site.at)})`,
  ])
  if (trusted !== null) rows.push(['Trusted', `${trusted.value} (${formatSourceLine(trusted.at)})`])
  if (allow !== null) rows.push(['Allow', entryWords(allow)])
  if (ban !== null) rows.push(['Ban', terminal.tone('bad', entryWords(ban))])
  return [terminal.table(rows, indent)]
}

type Entry = NonNullable<Explanation['standing']['allow']>

/** `203.0.113.7 for console: jo travels, until 2026-11-28 09:30:12 UTC (allow 3 set by jo)`. */
function entryWords({ range, classes, reason, owner, expiresMs, at }: Entry): string {
  const scope = classes === null ? '' : ` for ${[...classes].join(', ')}`
  const end = expiresMs === null ? '' : `, until ${formatTime(expiresMs)}`
  const who = at.line === 0 ? '' : `, by ${owner}`
  return `${shortRange(range.text)}${scope}: ${reason}${who}${end} ${inParentheses(at)}`
}

/** A place in parentheses; places outside files have theirs already. */
function inParentheses(at: SourceLine): string {
  const text = formatSourceLine(at)
  return text.startsWith('(') ? text : `(${text})`
}

/** What the source gets: connection, lowest TLS version, every class; what holds for several classes is said once. */
export function accessLines(explanation: Explanation, terminal: Terminal): readonly string[] {
  const { accept, hello, lowestTls, classes, host } = explanation
  const { verdict } = accept
  const bad = terminal.tone('bad', 'refused')
  if (!verdict.allow) return [terminal.table([['everything', bad, refusalWords(verdict.refusal)]], '  ')]
  const rows: string[][] = [['connection', terminal.tone('good', 'admitted'), '']]
  const tlsRefusal = hello.every(entry => !entry.verdict.allow) ? lastRefusal(explanation) : null
  if (tlsRefusal !== null) {
    rows.push(['TLS', bad, refusalWords(tlsRefusal)])
    if (lowestTls !== null) rows.push(['', '', `${lowestTls} and up would get in`])
    return [terminal.table(rows, '  ')]
  }
  rows.push([
    'TLS',
    terminal.tone('good', `${lowestTls ?? ''} and up`),
    host === null ? '' : `for clients of ${host}`,
  ])
  const tried = hello.find(entry => entry.verdict.allow && entry.verdict.wouldBe !== null)?.verdict
  if (tried?.allow === true && tried.wouldBe !== null)
    rows.push(['', terminal.tone('warn', 'on trial'), triedWords(tried.wouldBe)])
  for (const group of groupClasses(classes)) {
    const [first] = group
    if (first === undefined) continue
    const why =
      first.refusal === null
        ? first.wouldBe === null
          ? formatSourceLine(first.line)
          : triedWords(first.wouldBe)
        : group.length === 1
          ? refusalWords(first.refusal)
          : `${REASONS[first.refusal.reason].because} ${inParentheses(first.line)}`
    const key = first.needsKey === null ? '' : `, with the key of ${formatSourceLine(first.needsKey)}`
    rows.push([
      group.length === classes.length ? 'every class' : group.map(entry => entry.class).join(', '),
      !first.allowed
        ? bad
        : first.wouldBe === null
          ? terminal.tone('good', 'open')
          : terminal.tone('warn', 'on trial'),
      why + key,
    ])
  }
  return [terminal.table(rows, '  ')]
}

/** The refusal of the strongest client that was asked about. */
function lastRefusal({ hello }: Explanation): Refusal | null {
  const verdict = hello.at(-1)?.verdict
  return verdict === undefined || verdict.allow ? null : verdict.refusal
}

type ExplainedClass = Explanation['classes'][number]

/** Classes with the same answer for the same reason at the same line. */
function groupClasses(classes: readonly ExplainedClass[]): readonly (readonly ExplainedClass[])[] {
  const answer = ({ allowed, refusal, wouldBe, line, needsKey }: ExplainedClass): string => {
    const places = [wouldBe?.line ?? line, needsKey].map(place => place && formatSourceLine(place))
    return [allowed, refusal?.reason, wouldBe?.reason, ...places].join()
  }
  return [...Map.groupBy(classes, answer).values()]
}

/** `no part of the server is open to the country of the address: CN (policies/portcullis.yaml:3:7)`. */
export function refusalWords({ reason, saw, line }: Refusal): string {
  return `${REASONS[reason].because}: ${saw} ${inParentheses(line)}`
}

/** What a trial lets pass: `open until 2026-12-01 only: ...`. */
export function triedWords(wouldBe: WouldBe): string {
  return `would be refused after the trial, from ${formatTime(wouldBe.trial.expiresMs)}: ${refusalWords(wouldBe)}`
}

/** A would-be refusal as plain data. */
export function wouldBeJson(wouldBe: WouldBe | null): unknown {
  if (wouldBe === null) return null
  const { reason, stage, saw, line, trial } = wouldBe
  return {
    reason,
    stage,
    saw,
    line: formatSourceLine(line),
    trial: formatSourceLine(trial.at),
    expiresMs: trial.expiresMs,
  }
}

/** The steps of one decision. */
export function stepLines(steps: readonly Step[], terminal: Terminal): readonly string[] {
  if (steps.length === 0) return []
  const tone = { pass: 'good', refuse: 'bad', detect: 'warn', note: 'dim' } as const
  const mark = { pass: '✓', refuse: '✗', detect: '!', note: '·' } as const
  const rows = steps.map(step => [
    terminal.tone(tone[step.outcome], mark[step.outcome]),
    step.stage,
    step.saw,
    step.why,
    terminal.tone('dim', formatSourceLine(step.line)),
  ])
  const wide = terminal.table(rows, '  ')
  if (terminal.fits(wide)) return [wide]
  const narrow = rows.map(([outcome = '', stage = '', saw, why, line]) => [
    outcome,
    stage,
    `${saw}: ${why} ${line}`,
  ])
  return [terminal.table(narrow, '  ')]
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
      wouldBe: accept.verdict.allow ? wouldBeJson(accept.verdict.wouldBe) : null,
      steps: stepsJson(accept.steps),
    },
    lowestTls,
    tls: hello.map(entry => ({
      offered: entry.offered,
      allowed: entry.verdict.allow,
      tlsProfile: entry.verdict.allow ? entry.verdict.tlsProfile : null,
      refusal: entry.verdict.allow ? null : refusalJson(entry.verdict.refusal),
      wouldBe: entry.verdict.allow ? wouldBeJson(entry.verdict.wouldBe) : null,
    })),
    classes: classes.map(entry => ({
      class: entry.class,
      allowed: entry.allowed,
      refusal: refusalJson(entry.refusal),
      wouldBe: wouldBeJson(entry.wouldBe),
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
            wouldBe: request.verdict.allow ? wouldBeJson(request.verdict.wouldBe) : null,
            hits: request.verdict.hits,
            steps: stepsJson(request.steps),
          },
  }
}
