// Sums a CPU profile up: which functions and files took the time themselves.
import type { CpuProfile } from '../stage/inspector.ts'

/** Time of one function or file. */
export type SelfTime = { readonly name: string; readonly ms: number; readonly share: number }

const IDLE = '(idle)'

/** Functions by self time, longest first; idle time counts for nothing. */
export function functionsBySelfTime(profile: CpuProfile): SelfTime[] {
  return grouped(profile, frame => {
    const place = frame.url === '' ? '' : ` ${shortUrl(frame.url)}:${frame.lineNumber + 1}`
    return `${frame.functionName === '' ? '(anonymous)' : frame.functionName}${place}`
  })
}

/** Files by self time, longest first. */
export function filesBySelfTime(profile: CpuProfile): SelfTime[] {
  return grouped(profile, frame =>
    frame.url === '' ? frame.functionName || '(native)' : shortUrl(frame.url),
  )
}

function grouped(
  profile: CpuProfile,
  nameOf: (frame: CpuProfile['nodes'][number]['callFrame']) => string,
): SelfTime[] {
  const names = new Map(
    profile.nodes.map(node => [
      node.id,
      node.callFrame.functionName === IDLE ? null : nameOf(node.callFrame),
    ]),
  )
  const micros = new Map<string, number>()
  let total = 0
  profile.samples.forEach((id, index) => {
    const name = names.get(id)
    const delta = profile.timeDeltas[index] ?? 0
    if (name === undefined || name === null || delta <= 0) return
    total += delta
    micros.set(name, (micros.get(name) ?? 0) + delta)
  })
  return [...micros]
    .map(([name, time]) => ({ name, ms: time / 1_000, share: time / total }))
    .toSorted((a, b) => b.ms - a.ms)
}

function shortUrl(url: string): string {
  return url.replace(/^file:\/\/.*\/(?=(?:src|bench|node_modules)\/)/, '')
}
