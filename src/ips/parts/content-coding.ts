// Undoes Content-Encoding of request bodies within limits, through an inflater that is handed in.
import type { BodyProblem, Inflate } from './inspected.ts'
import type { InspectionLimits } from './limits.ts'

type Limits = Pick<InspectionLimits, 'codingLayers' | 'inflatedBytes' | 'inflateRatio' | 'ratioFreeBytes'>

/** A body without its codings. */
export type Decoded = {
  readonly bytes: Uint8Array
  /** The bytes as received, where a server could make something else of them than of the decoded ones; null: it cannot. */
  readonly asReceived: Uint8Array | null
  readonly problems: ReadonlySet<BodyProblem>
}

/**
 * Undoes the codings that the headers name, the last one first (RFC 9110, section 8.4).
 * @param headers values of all Content-Encoding headers, in order
 * @param complete false when the end of the body is not there
 */
export function undoCodings(
  headers: readonly string[],
  body: Uint8Array,
  complete: boolean,
  inflate: Inflate,
  limits: Limits,
): Decoded {
  const problems = new Set<BodyProblem>()
  const codings = headers
    .flatMap(header => header.split(','))
    .map(coding => coding.trim().toLowerCase())
    .filter(coding => coding !== '' && coding !== 'identity')
  let bytes = body
  for (const [layer, coding] of codings.toReversed().entries()) {
    const kind = KINDS.get(coding)
    if (layer >= limits.codingLayers) problems.add('coding-layers')
    else if (kind === undefined) problems.add('coding-unknown')
    else {
      const result = inflateWithin(kind, bytes, inflate, limits)
      if (result.ended === 'limit') problems.add(result.overRatio ? 'coding-ratio' : 'cut-off')
      if (result.ended === 'broken' || (result.ended === 'cut-off' && complete && !problems.has('cut-off')))
        problems.add('coding-broken')
      bytes = result.bytes
    }
    if (problems.size > 0) break
  }
  // Where the coding is not what it says, a server that does not look at it reads the bytes themselves.
  const doubtful =
    problems.has('coding-broken') || problems.has('coding-unknown') || problems.has('coding-layers')
  return { bytes, asReceived: doubtful && bytes !== body ? body : null, problems }
}

const KINDS: ReadonlyMap<string, 'gzip' | 'deflate' | 'br'> = new Map([
  ['gzip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['br', 'br'],
])

/** Undoes one coding, no further than both the size limit and the ratio allow. */
export function inflateWithin(
  kind: Parameters<Inflate>[0],
  bytes: Uint8Array,
  inflate: Inflate,
  limits: Limits,
): ReturnType<Inflate> & { readonly overRatio: boolean } {
  const byRatio = Math.max(limits.ratioFreeBytes, bytes.length * limits.inflateRatio)
  const result = inflate(kind, bytes, Math.min(limits.inflatedBytes, byRatio))
  return { ...result, overRatio: result.ended === 'limit' && byRatio <= limits.inflatedBytes }
}
