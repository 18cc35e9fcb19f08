// What is recorded under a reference, and what its address would get today.
import { diagnose } from '../diagnose/diagnosis.ts'
import { sentenceOfRow } from '../journal/catalogue.ts'
import type { StoredEvent } from '../journal/store-events.ts'
import { parseAddress } from '../net/address.ts'
import { REASONS } from '../policy/reasons.ts'
import type { CommandArguments, CommandContext } from './command.ts'
import { isReason, printFinding } from './diagnosis-report.ts'
import { ruleHitOf, type Gathered, type Surroundings } from './evidence.ts'
import { formatAgo, formatTime } from './format.ts'
import { commandOptions } from './gate-access.ts'

/** The event of a reference, and everything about its address; undefined: nothing is recorded under it. */
function gatherReference(
  reference: string,
  { store, about }: Surroundings,
): { readonly event: StoredEvent; readonly gathered: Gathered | undefined } | undefined {
  const event = store?.events.byReference(reference)[0]
  if (event === undefined) return undefined
  const address = event.address === null ? undefined : parseAddress(event.address)
  return { event, gathered: address === undefined ? undefined : aboutEvent(event, about(address)) }
}

/** Explains one refusal. */
export function diagnoseReference(
  reference: string,
  surroundings: Surroundings,
  args: CommandArguments,
  context: CommandContext,
): number {
  const { terminal } = context
  const found = gatherReference(reference, surroundings)
  if (found === undefined) {
    if (args.flag('json')) terminal.json({ reference, found: false })
    else {
      terminal.complain(
        `Nothing is recorded under ${reference}.`,
        `  Events are kept for ${surroundings.snapshot.journal.eventDays} days. Is this the gate that the client reached? Otherwise ask for its public address.`,
      )
    }
    return 1
  }
  const { event, gathered } = found
  const now = gathered === undefined ? null : diagnose(gathered.evidence)
  if (args.flag('json')) {
    terminal.json({ reference, found: true, event, now })
    return 0
  }
  showEvent(event, context)
  if (now === null) return 0
  terminal.print('', terminal.tone('strong', 'The address today'))
  printFinding(now, surroundings.nowMs, terminal)
  const options = commandOptions(args)
  if (now.fix?.patch !== null && now.fix !== null) {
    terminal.print(
      '',
      terminal.tone('dim', 'To except exactly this for a week, with your comments in the policy kept:'),
      `  bin/portcullis allow --from ${reference} --for 7d --reason "..."${options}`,
    )
  }
  terminal.print('', terminal.tone('dim', `All about it: bin/diagnose ${event.address ?? ''}${options}`))
  return 0
}

/** The same evidence, but where a rule refused it is about the rule of this event, not of a newer one. */
function aboutEvent(event: StoredEvent, gathered: Gathered): Gathered {
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
