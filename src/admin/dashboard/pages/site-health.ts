// PURE. How a site is, in one word and one sentence, from what came from it and when.
import type { SiteSeen, SiteTraffic } from '../../../journal/store-traffic.ts'
import { goneAfter } from '../../../policy/check-in.ts'
import { agoText, counted, type Tone } from '../components.ts'

/** How a site is. */
export type SiteHealth = {
  readonly tone: Tone
  /** `healthy`, `refused`, `silent`, `trouble`, `never seen`. */
  readonly word: string
  readonly sentence: string
}

/** Most agents check in every few minutes: an hour without anything is worth a look. */
const SILENT_MS = 3_600_000
const DAY_MS = 86_400_000

/** What is known of a site. */
export type SiteEvidence = {
  readonly traffic: Pick<SiteTraffic, 'admitted' | 'failed' | 'refused' | 'answered' | 'unanswered'> | null
  readonly seen: Pick<SiteSeen, 'lastAdmittedMs' | 'lastRefusedMs'> | null
  /** How often the slowest agents check in; null or left out: nobody knows. */
  readonly everyMs?: number | null
}

/** Judges a site. The worst thing comes first. */
export function siteHealth({ traffic, seen, everyMs = null }: SiteEvidence, nowMs: number): SiteHealth {
  const silentMs = everyMs === null ? SILENT_MS : Math.max(SILENT_MS, goneAfter(everyMs))
  const admittedMs = seen?.lastAdmittedMs ?? null
  const refusedMs = seen?.lastRefusedMs ?? null
  const { admitted = 0, failed = 0, refused = 0, answered = 0, unanswered = 0 } = traffic ?? {}
  const isRefusedNow = refusedMs !== null && refusedMs > nowMs - DAY_MS && refusedMs > (admittedMs ?? 0)
  if (isRefusedNow && (admittedMs === null || admittedMs < nowMs - silentMs)) {
    const since =
      admittedMs === null ? 'nothing was ever let through' : `let through ${ago(admittedMs, nowMs)}`
    return {
      tone: 'bad',
      word: 'refused',
      sentence: `Refused ${ago(refusedMs, nowMs)}, ${since}.`,
    }
  }
  if (admittedMs === null) {
    return { tone: 'idle', word: 'never seen', sentence: 'Nothing has arrived from its addresses yet.' }
  }
  if (admittedMs < nowMs - silentMs) {
    return { tone: 'bad', word: 'silent', sentence: `Last let through ${ago(admittedMs, nowMs)}.` }
  }
  if (failed > 0 && failed * 10 >= admitted + failed) {
    return {
      tone: 'warn',
      word: 'trouble',
      sentence: `${counted(failed, 'request')} of ${counted(admitted + failed, 'admitted one')} ended badly.`,
    }
  }
  if (unanswered > answered) {
    return {
      tone: 'warn',
      word: 'trouble',
      sentence: `${counted(unanswered, 'heartbeat')} had no reply, ${counted(answered, 'had one', 'had one')}.`,
    }
  }
  if (refused > 0 && refused * 5 >= admitted + refused) {
    return {
      tone: 'warn',
      word: 'trouble',
      sentence: `${counted(refused, 'request')} refused, last ${ago(refusedMs ?? nowMs, nowMs)}.`,
    }
  }
  return {
    tone: 'good',
    word: 'healthy',
    sentence: refused === 0 ? 'Nothing was refused.' : `${counted(refused, 'request')} refused besides.`,
  }
}

const ORDER: readonly Tone[] = ['bad', 'warn', 'idle', 'good']

/** The worst first. */
export function byHealth(a: SiteHealth, b: SiteHealth): number {
  return ORDER.indexOf(a.tone) - ORDER.indexOf(b.tone)
}

function ago(timeMs: number, nowMs: number): string {
  return agoText(timeMs, nowMs)
}
