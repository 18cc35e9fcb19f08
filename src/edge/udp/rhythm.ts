// Whether a sender keeps a rhythm, and which of its beats never came: an estimate of what is lost between it and the gate. Pure.

/** So many gaps of about the same length make a rhythm. */
export const STEADY = 3
/** A pause of more beats than this is no loss: the agent was off. */
const MAX_MISSED = 12
/** So many gaps in a row that do not fit mean that the sender has changed its interval. */
const CHANGED = 4

/** What is known of one sender. */
export type Rhythm = {
  /** The usual time between two beats; 0: not known yet. */
  usualMs: number
  steady: number
  unfit: number
  /** Missed beats that only count when the rhythm goes on as before. */
  doubtful: number
  /** Gaps that were judged. Each stands for one beat that has come. */
  kept: number
  /** Beats that should have come between. */
  missed: number
}

/** A sender of which nothing is known. */
export function newRhythm(): Rhythm {
  return { usualMs: 0, steady: 0, unfit: 0, doubtful: 0, kept: 0, missed: 0 }
}

/**
 * Takes the time since the last beat.
 * A gap of about the usual length is a beat that was kept, one of about a multiple has missed the beats between. Senders
 * without a rhythm are never judged.
 */
export function beat(rhythm: Rhythm, gapMs: number): void {
  const { usualMs } = rhythm
  if (usualMs === 0) {
    rhythm.usualMs = gapMs
    return
  }
  const ratio = gapMs / usualMs
  if (ratio >= 0.6 && ratio <= 1.5) {
    rhythm.usualMs = usualMs + (gapMs - usualMs) / 8
    if (rhythm.steady < STEADY) rhythm.steady++
    else {
      rhythm.kept += 1 + rhythm.unfit
      rhythm.missed += rhythm.doubtful
    }
    rhythm.unfit = 0
    rhythm.doubtful = 0
    return
  }
  const missed = Math.round(ratio) - 1
  if (missed > 0 && missed <= MAX_MISSED) rhythm.doubtful += missed
  if (++rhythm.unfit < CHANGED && rhythm.steady === STEADY) return
  rhythm.usualMs = gapMs
  rhythm.steady = 0
  rhythm.unfit = 0
  rhythm.doubtful = 0
}

/** Takes what has been judged so far, and begins to count anew. */
export function takeJudged(rhythm: Rhythm): { readonly kept: number; readonly missed: number } {
  const { kept, missed } = rhythm
  rhythm.kept = 0
  rhythm.missed = 0
  return { kept, missed }
}
