// What of a body rules cannot read whole, and the refusal that follows where a class passes on nothing unseen.
import type { BodyFraming } from '../../forward/forwarder.ts'
import type { Reason } from '../../policy/reasons.ts'
import type { SourceLine } from '../../policy/source-line.ts'
import type { Refusal } from '../../policy/verdict.ts'
import type { Unread } from './rule-reports.ts'

/** Why a body is not read whole. */
export type UnreadBody = Unread & { readonly what: 'body' }

const REASON: Readonly<Record<Unread['why'], Reason>> = {
  size: 'body-unread',
  coding: 'body-coding',
  memory: 'inspection-full',
}

/** The refusal of a body that is not read whole. */
export function refusalOfUnread({ why, saw }: UnreadBody, line: SourceLine): Refusal {
  return { reason: REASON[why], stage: 'limits', saw, line }
}

/** What the head tells already; null: all of the body may be read. */
export function announcedUnread(
  framing: BodyFraming,
  headers: readonly string[],
  inspectBytes: number,
): UnreadBody | null {
  const coding = unknownCoding(headers)
  if (coding !== null) return { what: 'body', why: 'coding', saw: `Content-Encoding ${coding}` }
  if (framing.kind !== 'length' || framing.bytes <= inspectBytes) return null
  return beyondSize(framing, inspectBytes)
}

/** A body that is longer than is held. */
export function beyondSize(framing: BodyFraming, inspectBytes: number): UnreadBody {
  const size = framing.kind === 'length' ? `${framing.bytes} bytes` : 'no length announced'
  return { what: 'body', why: 'size', saw: `${size}, ${inspectBytes} looked at` }
}

/** A body for which no memory is left. */
export function beyondMemory(bytes: number): UnreadBody {
  return { what: 'body', why: 'memory', saw: `${bytes} bytes looked at, limits.heldMemory is full` }
}

const CODINGS = new Set(['gzip', 'x-gzip', 'deflate', 'br', 'identity', ''])

/** The values of all headers of this lower-case name. */
function valuesOf(headers: readonly string[], name: string): string[] {
  const out: string[] = []
  for (let at = 0; at < headers.length; at += 2) {
    const candidate = headers[at] as string
    if (candidate.length === name.length && candidate.toLowerCase() === name)
      out.push(headers[at + 1] as string)
  }
  return out
}

function unknownCoding(headers: readonly string[]): string | null {
  for (const value of valuesOf(headers, 'content-encoding')) {
    const unknown = value.split(',').find(coding => !CODINGS.has(coding.trim().toLowerCase()))
    if (unknown !== undefined) return unknown.trim().slice(0, 60)
  }
  return null
}
