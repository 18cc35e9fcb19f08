// How a diagnosis reads: the sentence, what shows it, what to do, and everything around it; and the same as JSON.
import { diagnose } from '../diagnose/diagnosis.ts'
import type { Device } from '../diagnose/devices.ts'
import type { Diagnosis } from '../diagnose/finding.ts'
import type { Fix } from '../diagnose/fix.ts'
import { goneWords } from '../diagnose/heartbeats.ts'
import type { StoredEvent } from '../journal/store-events.ts'
import { REASONS } from '../policy/reasons.ts'
import type { CommandContext } from './command.ts'
import { LOOK_BACK_MS, type Gathered } from './evidence.ts'
import { accessLines, explanationJson, standingLines } from './explanation.ts'
import { formatAgo, formatDay, formatSpan, formatTime } from './format.ts'
import type { Terminal } from './terminal.ts'

/** Prints a diagnosis in full. */
export function showDiagnosis(gathered: Gathered, context: CommandContext): number {
  const { terminal } = context
  const { evidence, databases, status } = gathered
  const { nowMs } = evidence
  const diagnosis = diagnose(evidence)
  printFinding(diagnosis, nowMs, terminal)
  const devices = deviceLines(evidence.devices, evidence.device, nowMs, terminal)
  terminal.print(
    '',
    terminal.tone('strong', 'Who it is'),
    ...standingLines(evidence.explanation, databases, nowMs, terminal, '  '),
    ...(devices.length === 0 ? [] : ['', terminal.tone('strong', 'Clients behind the address'), ...devices]),
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

/** The sentence, its evidence and its fix. */
export function printFinding(diagnosis: Diagnosis, nowMs: number, terminal: Terminal): void {
  const { healthy, sentence, evidence, fix } = diagnosis
  const [tone, mark] = !healthy
    ? (['bad', '✗'] as const)
    : fix === null
      ? (['good', '✓'] as const)
      : (['warn', '!'] as const)
  terminal.print(terminal.wrap(terminal.tone(tone, `${mark} ${sentence}`)))
  for (const { atMs, text } of evidence) {
    const when = atMs === null ? 'now' : `${formatTime(atMs)}, ${formatAgo(atMs, nowMs)}`
    terminal.print(terminal.wrap(`${terminal.tone('dim', `${when}:`)} ${text}`, '  ', '  '))
  }
  if (fix !== null) printFix(fix, terminal)
}

/** The diagnosis and all that it was made from, for a program. */
export function diagnosisJson(gathered: Gathered): unknown {
  const { evidence, databases, activity, refusals, certificates, status } = gathered
  return {
    diagnosis: diagnose(evidence),
    gateRunning: status !== undefined,
    source: explanationJson(evidence.explanation, databases),
    device: evidence.device,
    devices: evidence.devices,
    activity,
    refusals: refusals.slice(0, 20),
    happenings: evidence.happenings.slice(0, 20),
    upstreams: status?.upstreams ?? null,
    heartbeats: evidence.heartbeatListeners ?? null,
    certificates,
  }
}

const MAX_DEVICES = 12

/** One line per client; the one that was asked about is marked. */
function deviceLines(
  devices: readonly Device[],
  asked: string | null,
  nowMs: number,
  terminal: Terminal,
): readonly string[] {
  // A single client needs no telling apart.
  if (devices.length < 2 && asked === null) return []
  const rows = devices.slice(0, MAX_DEVICES).map(device => {
    const { ja4, offered, userAgents, passed, refused, lastMs, trouble } = device
    const state =
      trouble === null ? terminal.tone('good', 'well') : terminal.tone('bad', outcomeWord(trouble))
    return [
      device.ja4 === asked ? terminal.tone('strong', `→ ${ja4}`) : `  ${ja4}`,
      offered.join(', '),
      userAgents.join(', ') || '-',
      `${passed} passed, ${refused} refused`,
      `last ${formatAgo(lastMs, nowMs)}`,
      state,
    ]
  })
  const more =
    devices.length > MAX_DEVICES ? [`  and ${devices.length - MAX_DEVICES} more (--json has them)`] : []
  return [terminal.table(rows, ''), ...more]
}

// A command must stay in one piece: it is there to be copied.
const HAS_COMMAND =
  /\b(?:bin\/portcullis|openssl|reg add|Test-NetConnection|Resolve-DnsName|Restart-Service|certutil|netstat|w32tm|Get-[A-Z]|proxy_protocol|send-proxy|curl) ?|\[Enum\]::/

/** What to do. */
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

/** What is lost between the site and the gate, where its senders keep a rhythm. */
function heartbeatLines(
  { activity, heartbeatListeners = [] }: Gathered['evidence'],
  terminal: Terminal,
): readonly string[] {
  return heartbeatListeners.flatMap(({ listener, site, allGone }) => {
    if (activity?.heartbeats?.listeners.includes(listener) !== true) return []
    const gone = allGone
      ? 'hardly any agent of any place is heard, so it is the line or the firewall of the gate, not of this place'
      : site?.senders === undefined || site.senders === null
        ? null
        : goneWords(site.site, site.senders)
    const about = gone === null ? [] : [`  ${terminal.tone('warn', `Heartbeats to ${listener}: ${gone}.`)}`]
    if (site?.lossPercent === undefined || site.lossPercent === null) return about
    const lost = `About ${site.lossPercent} % of the heartbeats of ${site.site ?? 'addresses without a site'} are lost on their way to ${listener}.`
    return [...about, `  ${terminal.tone(site.lossPercent >= 5 ? 'warn' : 'dim', lost)}`]
  })
}

function activityLines({ activity, refusals, evidence }: Gathered, terminal: Terminal): readonly string[] {
  const { nowMs } = evidence
  if (activity === null) return ['  Nothing has ever been recorded in this state directory.']
  if (activity.classes.length === 0 && activity.outcomes.length === 0) return ['  Nothing arrived.']
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

/** An outcome of the ledger for a person. */
export function outcomeWord(outcome: string): string {
  if (outcome === 'silent') return 'connected and sent nothing (a port test looks like this)'
  if (outcome === 'handshake-failed') return 'broke off the TLS handshake'
  return `refused: ${isReason(outcome) ? REASONS[outcome].because : outcome}`
}

/** Whether a word is a reason of the closed set. */
export function isReason(outcome: string): outcome is keyof typeof REASONS {
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
