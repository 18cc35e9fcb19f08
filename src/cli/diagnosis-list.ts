// The diagnosis of many sources: one line each, grouped by cause, then the worst in full.
import { diagnose } from '../diagnose/diagnosis.ts'
import type { Cause, Diagnosis } from '../diagnose/finding.ts'
import type { CommandContext } from './command.ts'
import { diagnosisJson, showDiagnosis } from './diagnosis-report.ts'
import type { Gathered } from './evidence.ts'
import { counted } from './format.ts'

/** One source with its diagnosis. */
export type Diagnosed = { readonly gathered: Gathered; readonly diagnosis: Diagnosis }

/** Causes that take the most with them come first. */
const WORST: readonly Cause[] = [
  'certificate',
  'upstream',
  'load-balancer',
  'banned',
  'country',
  'never-arrived',
  'gone-quiet',
  'tls-version',
  'handshake',
  'rule',
  'class',
]

/** Diagnoses every source. */
export function diagnoseAll(all: readonly Gathered[]): readonly Diagnosed[] {
  return all.map(gathered => ({ gathered, diagnosis: diagnose(gathered.evidence) }))
}

/** The unhealthy source that most depends on; undefined: all are well. */
function worstOf(all: readonly Diagnosed[]): Diagnosed | undefined {
  const rank = ({ diagnosis }: Diagnosed): number => (WORST.indexOf(diagnosis.cause) + 100) % 100
  const traffic = ({ gathered }: Diagnosed): number =>
    (gathered.activity?.refused ?? 0) + (gathered.activity?.passed ?? 0)
  return all
    .filter(entry => !entry.diagnosis.healthy)
    .toSorted((a, b) => (rank(a) || 99) - (rank(b) || 99) || traffic(b) - traffic(a))[0]
}

/** Prints the list, and the worst in full. */
export function showList(
  what: string,
  all: readonly Diagnosed[],
  truncated: boolean,
  context: CommandContext,
): number {
  const { terminal } = context
  const well = all.filter(entry => entry.diagnosis.healthy).length
  const bad = all.length - well
  terminal.print(
    terminal.tone(
      bad === 0 ? 'good' : 'bad',
      `${bad === 0 ? '✓' : '✗'} ${what}: ${counted(all.length, 'source')}, ${well} well, ${bad} not.`,
    ),
    ...(truncated ? [terminal.tone('warn', '  There are more; these were looked at.')] : []),
  )
  const groups = [...Map.groupBy(all, entry => entry.diagnosis.cause)].sort(
    ([, a], [, b]) =>
      Number(a[0]?.diagnosis.healthy) - Number(b[0]?.diagnosis.healthy) || b.length - a.length,
  )
  for (const [cause, group] of groups) {
    const healthy = group[0]?.diagnosis.healthy === true
    terminal.print('', terminal.tone(healthy ? 'good' : 'bad', `${cause} (${group.length})`))
    const rows = group.map(({ gathered, diagnosis }) => [
      nameOf(gathered),
      gathered.evidence.explanation.standing.site?.id ?? '-',
      diagnosis.sentence,
    ])
    terminal.print(terminal.table(rows, '  '))
  }
  const worst = worstOf(all)
  if (worst === undefined) return 0
  terminal.print('', terminal.tone('strong', `The worst: ${nameOf(worst.gathered)}`), '')
  return showDiagnosis(worst.gathered, context)
}

/** The list for a program. */
export function listJson(what: string, all: readonly Diagnosed[], truncated: boolean): unknown {
  const worst = worstOf(all)
  return {
    subject: what,
    truncated,
    causes: Object.fromEntries(
      [...Map.groupBy(all, entry => entry.diagnosis.cause)].map(([cause, group]) => [cause, group.length]),
    ),
    sources: all.map(({ gathered, diagnosis }) => ({
      address: gathered.evidence.address,
      device: gathered.evidence.device,
      site: gathered.evidence.explanation.standing.site?.id ?? null,
      diagnosis,
    })),
    worst: worst === undefined ? null : diagnosisJson(worst.gathered),
  }
}

function nameOf({ evidence }: Gathered): string {
  return evidence.device === null ? evidence.address : `${evidence.address}#${evidence.device}`
}
