// portcullis diagnose: why an address, or one refused request, did not get through, and what fixes it.
import { diagnose } from '../../diagnose/diagnosis.ts'
import type { Fix } from '../../diagnose/fixes.ts'
import { sentenceOfRow } from '../../journal/catalogue.ts'
import { parseReference } from '../../journal/reference.ts'
import type { StoredEvent } from '../../journal/store-events.ts'
import { parseAddress } from '../../net/address.ts'
import { REASONS } from '../../policy/reasons.ts'
import type { Snapshot } from '../../policy/snapshot.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { gather, LOOK_BACK_MS, ruleHitOf, type Gathered } from '../evidence.ts'
import { accessLines, explanationJson, standingLines } from '../explanation.ts'
import { formatAgo, formatDay, formatSpan, formatTime } from '../format.ts'
import { askGate, commandOptions, openStore, requirePolicy } from '../gate-access.ts'
import type { Terminal } from '../terminal.ts'

export const diagnoseCommand: Command = {
  name: 'diagnose',
  usage: 'diagnose <ip or reference>',
  summary: 'Why an address or a refused request did not get through, and what fixes it',
  examples: ['bin/diagnose 198.51.100.7', 'bin/diagnose P7F3-K9QX-M2', 'bin/diagnose 198.51.100.7 --json'],
  options: {},
  run: async (args, context) => {
    const subject = args.positionals[0]
    if (subject === undefined || args.positionals.length > 1) {
      throw usageError(
        'diagnose needs one address or one reference',
        'For example: bin/diagnose 198.51.100.7',
      )
    }
    const { snapshot } = requirePolicy(args, context)
    const address = parseAddress(subject.replace(/^\[|\]$/g, ''))
    if (address !== undefined) {
      const gathered = await gather(snapshot, address, args, context)
      return args.flag('json') ? showJson(gathered, context) : show(gathered, context)
    }
    const reference = parseReference(subject)
    if (reference !== undefined) return diagnoseReference(reference, snapshot, args, context)
    throw usageError(
      `"${subject}" is neither an IP address nor a reference`,
      'Write the public address of the site (198.51.100.7), or the reference from the refusal page.',
    )
  },
}

function show(gathered: Gathered, context: CommandContext): number {
  const { terminal } = context
  const { evidence, databases, status } = gathered
  const { nowMs } = evidence
  const diagnosis = diagnose(evidence)
  terminal.print(
    terminal.wrap(
      terminal.tone(
        diagnosis.healthy ? 'good' : 'bad',
        `${diagnosis.healthy ? '✓' : '✗'} ${diagnosis.sentence}`,
      ),
    ),
  )
  if (diagnosis.fix !== null) printFix(diagnosis.fix, terminal)
  terminal.print(
    '',
    terminal.tone('strong', 'Who it is'),
    ...standingLines(evidence.explanation, databases, nowMs, terminal, '  '),
    '',
    terminal.tone('strong', 'What it would get now'),
    ...accessLines(evidence.explanation, terminal),
    '',
    terminal.tone('strong', `What it did in the last ${formatSpan(LOOK_BACK_MS)}`),
    ...activityLines(gathered, terminal),
    '',
    terminal.tone('strong', 'The gate'),
    ...gateLines(gathered, terminal),
  )
  if (status === undefined) {
    terminal.print(
      '',
      terminal.wrap(
        terminal.tone(
          'warn',
          'No gate runs with this policy. Everything above comes from the files; upstream state is not known.',
        ),
      ),
    )
  }
  return diagnosis.healthy ? 0 : 1
}

function showJson(gathered: Gathered, { terminal }: CommandContext): number {
  const { evidence, databases, activity, refusals, certificates, status } = gathered
  const diagnosis = diagnose(evidence)
  terminal.json({
    diagnosis,
    gateRunning: status !== undefined,
    source: explanationJson(evidence.explanation, databases),
    activity,
    refusals: refusals.slice(0, 20),
    upstreams: status?.upstreams ?? null,
    heartbeats: evidence.heartbeatListeners ?? null,
    certificates,
  })
  return diagnosis.healthy ? 0 : 1
}

// A command must stay in one piece: it is there to be copied.
const HAS_COMMAND = /\b(?:bin\/portcullis|openssl|reg add|Test-NetConnection) /

function printFix(fix: Fix, terminal: Terminal): void {
  const lines = fix.steps.map(step => {
    const before = /^ */.exec(step)?.[0] ?? ''
    return HAS_COMMAND.test(step) ? `  ${step}` : terminal.wrap(step, `  ${before}`)
  })
  terminal.print('', terminal.tone('strong', 'What to do'), ...lines)
  if (fix.yaml !== null) {
    terminal.print(
      '',
      ...fix.yaml
        .trimEnd()
        .split('\n')
        .map(line => `    ${terminal.tone('accent', line)}`),
    )
  }
}

function activityLines({ activity, refusals, evidence }: Gathered, terminal: Terminal): readonly string[] {
  const { nowMs } = evidence
  if (activity === null) return ['  Nothing has ever been recorded in this state directory.']
  if (activity.passed + activity.failures === 0 && activity.outcomes.length === 0)
    return ['  Nothing arrived.']
  const rows: string[][] = []
  for (const entry of activity.classes) {
    const failures = entry.failures === 0 ? '' : terminal.tone('warn', `, ${entry.failures} ended badly`)
    rows.push([
      entry.class,
      `last ${formatAgo(entry.lastMs, nowMs)}`,
      terminal.tone('good', `${entry.passed} passed`) + failures,
    ])
  }
  for (const entry of activity.outcomes) {
    rows.push([
      entry.classes.join(', ') || 'connection',
      `last ${formatAgo(entry.lastMs, nowMs)}`,
      terminal.tone(
        entry.outcome === 'silent' ? 'dim' : 'bad',
        `${entry.count} ${outcomeWord(entry.outcome)}`,
      ),
    ])
  }
  const offered = activity.offered.map(({ versions, count }) => `${versions.join(', ')} (${count})`)
  const lines = [terminal.table(rows, '  ')]
  lines.push(...heartbeatLines(evidence, terminal))
  if (offered.length > 0) lines.push(terminal.wrap(`TLS offered: ${offered.join('; ')}`, '  ', '  '))
  if (refusals.length > 0) lines.push('', terminal.tone('strong', 'Newest refusals'))
  for (const event of distinctRefusals(refusals).slice(0, MAX_REFUSALS))
    lines.push(terminal.wrap(refusalLine(event), '  ', '  '))
  return lines
}

const MAX_REFUSALS = 5

/** What is lost between the site and the gate, where its senders keep a rhythm. */
function heartbeatLines(
  { activity, heartbeatListeners = [] }: Gathered['evidence'],
  terminal: Terminal,
): readonly string[] {
  return heartbeatListeners.flatMap(({ listener, site }) => {
    if (site?.lossPercent === undefined || site.lossPercent === null) return []
    if (activity?.heartbeats?.listeners.includes(listener) !== true) return []
    const lost = `${site.lossPercent} % of the heartbeats of ${site.site ?? 'addresses without a site'} on ${listener} seem to be lost on their way to the gate`
    return [`  ${site.lossPercent >= 5 ? terminal.tone('warn', lost) : terminal.tone('dim', lost)}`]
  })
}

/** The newest refusal of each kind: the same device is refused the same way every few seconds. */
function distinctRefusals(refusals: readonly StoredEvent[]): readonly StoredEvent[] {
  const kinds = new Map<string, StoredEvent>()
  for (const event of refusals) {
    const { reason, saw, host, path } = event.fields
    const kind = JSON.stringify([event.name, reason, saw, host, path])
    if (!kinds.has(kind)) kinds.set(kind, event)
  }
  return [...kinds.values()]
}

/** `2026-11-21 10:33:27 UTC  ZF39-HQWM-8N2  GET https://rmm.example.com/automate: ... (...)`. */
function refusalLine({ timeMs, reference, reason, fields }: StoredEvent): string {
  const what =
    typeof fields['method'] === 'string'
      ? `${fields['method']} https://${String(fields['host'])}${String(fields['path'])}`
      : 'connection'
  const because = reason !== null && isReason(reason) ? REASONS[reason].because : (reason ?? '')
  return `${formatTime(timeMs)}, ${reference ?? ''}, ${what}: ${because} (${String(fields['saw'])})`
}

function outcomeWord(outcome: string): string {
  if (outcome === 'silent') return 'connected and sent nothing (a port test looks like this)'
  if (outcome === 'handshake-failed') return 'broke off the TLS handshake'
  return `refused: ${isReason(outcome) ? REASONS[outcome].because : outcome}`
}

function isReason(outcome: string): outcome is keyof typeof REASONS {
  return Object.hasOwn(REASONS, outcome)
}

function gateLines({ status, certificates, evidence }: Gathered, terminal: Terminal): readonly string[] {
  const { nowMs } = evidence
  const rows: string[][] = (status?.upstreams ?? []).map(member => {
    const down = member.state === 'down'
    const problem = down && member.lastProblem !== null ? ` (${member.lastProblem})` : ''
    const state = terminal.tone(down ? 'bad' : 'good', member.state) + (member.serving ? ', serving' : '')
    return ['upstream', member.member, `${state}, ${member.origin}${problem}`]
  })
  for (const [name, own] of Map.groupBy(certificates, entry => entry.name)) {
    const first = Math.min(...own.map(entry => entry.validToMs))
    const kinds = own.map(entry => entry.keyType).join(', ')
    const ended = first <= nowMs
    const words = `${ended ? 'ended' : 'ends'} ${formatDay(first)}, ${formatAgo(first, nowMs)}`
    const kind = own.some(entry => entry.development) ? `${kinds}; development` : kinds
    rows.push(['certificate', name, `${terminal.tone(ended ? 'bad' : 'good', words)} (${kind})`])
  }
  if (certificates.length === 0)
    rows.push(['certificate', terminal.tone('warn', 'none in certs/: a development one is made at start')])
  return [terminal.table(rows, '  ')]
}

async function diagnoseReference(
  reference: string,
  snapshot: Snapshot,
  args: CommandArguments,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  await askGate(snapshot, 'POST', '/v1/flush')
  const store = openStore(snapshot)
  const found = store?.events.byReference(reference) ?? []
  store?.close()
  const event = found[0]
  if (event === undefined) {
    if (args.flag('json')) terminal.json({ reference, found: false })
    else {
      terminal.complain(
        `Nothing is recorded under ${reference}.`,
        `  Events are kept for ${snapshot.journal.eventDays} days. Is this the gate that the client reached? Otherwise ask for its public address.`,
      )
    }
    return 1
  }
  const address = event.address === null ? undefined : parseAddress(event.address)
  const gathered =
    address === undefined ? undefined : about(event, await gather(snapshot, address, args, context))
  if (args.flag('json')) {
    terminal.json({
      reference,
      found: true,
      event,
      now: gathered === undefined ? null : diagnose(gathered.evidence),
    })
    return 0
  }
  showEvent(event, context)
  if (gathered !== undefined) {
    const now = diagnose(gathered.evidence)
    terminal.print('', terminal.tone('strong', 'The address today'), terminal.wrap(now.sentence, '  '))
    if (now.fix !== null) printFix(now.fix, terminal)
    terminal.print(
      '',
      terminal.tone('dim', `All about it: bin/diagnose ${event.address ?? ''}${commandOptions(args)}`),
    )
  }
  return 0
}

/** The same evidence, but where a rule refused it is about the rule of this event, not of a newer one. */
function about(event: StoredEvent, gathered: Gathered): Gathered {
  const ruleHit = ruleHitOf([event]) ?? gathered.evidence.ruleHit
  return { ...gathered, evidence: { ...gathered.evidence, ruleHit } }
}

/** A field of a stored event as a word. */
function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : 'unknown'
}

function showEvent(event: StoredEvent, { terminal, nowMs }: CommandContext): void {
  const { fields } = event
  const reason = event.reason ?? ''
  terminal.print(terminal.wrap(terminal.tone('strong', sentenceOfRow(event.name, fields) ?? event.name)), '')
  const rows: string[][] = [
    ['Reference', event.reference ?? ''],
    ['When', `${formatTime(event.timeMs)}, ${formatAgo(event.timeMs, nowMs())}`],
    [
      'Client',
      `${event.address ?? 'unknown'}, country ${wordOf(fields['country'])}, site ${event.site ?? 'none'}`,
    ],
  ]
  if (typeof fields['method'] === 'string')
    rows.push(['Request', `${fields['method']} https://${String(fields['host'])}${String(fields['path'])}`])
  if (event.class !== null) rows.push(['Class', event.class])
  if (Array.isArray(fields['offered']) && fields['offered'].length > 0)
    rows.push(['Offered', fields['offered'].join(', ')])
  if (isReason(reason)) {
    rows.push(
      ['Reason', `${reason}: ${REASONS[reason].because}`],
      ['Saw', String(fields['saw'])],
      ['Decided by', String(fields['line'])],
      ['Remedy', REASONS[reason].remedy],
    )
  }
  const hits = fields['hits']
  if (Array.isArray(hits)) {
    for (const hit of hits as readonly Readonly<Record<string, unknown>>[]) {
      rows.push([
        'Rule',
        `${String(hit['ruleId'])} (${String(hit['severity'])}, ${String(hit['mode'])}): ${String(hit['title'])}`,
      ])
      rows.push(['', `matched ${String(hit['field'])}: ${String(hit['value'])}`])
    }
  }
  terminal.print(terminal.table(rows, '  '))
}
