// What happened to the gate and its policy lately: changes are the first suspects of a diagnosis.
import type { Happening } from '../diagnose/finding.ts'
import { sentenceOfRow } from '../journal/catalogue.ts'
import type { EventName } from '../journal/events.ts'
import type { StoreReader } from '../journal/store-core.ts'
import { listVersions } from '../plan/history.ts'
import type { Snapshot } from '../policy/snapshot.ts'

const EVENTS: readonly EventName[] = [
  'policy.rejected',
  'policy.rolled-back',
  'gate.started',
  'upstream.down',
  'upstream.switched',
  'certificate.rejected',
  'certificate.held',
]
const PER_EVENT = 3
const MAX_CHANGES = 3

/** Newest first. Versions of the policy come from its history, with who changed what and why. */
export function happeningsOf(
  snapshot: Snapshot,
  store: StoreReader | undefined,
  sinceMs: number,
): readonly Happening[] {
  const events = EVENTS.flatMap(name => store?.events.find({ name, sinceMs, limit: PER_EVENT }) ?? [])
  const found: Happening[] = events.map(event => ({
    atMs: event.timeMs,
    text:
      event.name === 'gate.started'
        ? 'the gate was started'
        : firstSentence(sentenceOfRow(event.name, event.fields) ?? event.name),
  }))
  for (const version of listVersions(snapshot.directories.state)) {
    if (version.number === 1 || version.atMs < sinceMs) continue
    const changes = version.changes.slice(0, MAX_CHANGES).join('; ')
    const more = version.changes.length > MAX_CHANGES ? '; ...' : ''
    const why = version.why === '' ? '' : ` (${version.why})`
    found.push({
      atMs: version.atMs,
      text: `version ${version.number} of the policy came into force, by ${version.who}${why}: ${changes}${more}`,
    })
  }
  return found.sort((a, b) => b.atMs - a.atMs)
}

function firstSentence(text: string): string {
  return /^.*?[.!?](?=\s|$)/s.exec(text)?.[0] ?? text
}
