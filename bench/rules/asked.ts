// Requests as the edge hands them to rules, made of bytes, and judged in the order of the gate: head, body.
import { gunzipSync, inflateRawSync, inflateSync, brotliDecompressSync } from 'node:zlib'
import { FlatHeaders } from '../../src/edge/http/header-view.ts'
import type { Inflate } from '../../src/ips/parts/inspected.ts'
import type { RuleHit, RuleScope, RuleSet } from '../../src/ips/rule-set.ts'
import { normaliseTarget } from '../../src/ips/target.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import { classify } from '../../src/policy/classify.ts'
import type { RequestFacts } from '../../src/policy/facts.ts'
import type { Profile } from '../../src/policy/snapshot.ts'

/** A request with its body. */
export type Asked = {
  readonly facts: RequestFacts
  readonly scope: RuleScope
  readonly body: Uint8Array | null
}

/** The parts of a request. */
export type Sent = {
  readonly method: string
  readonly target: string
  /** Flat list name, value, name, value ... */
  readonly headers: readonly string[]
  readonly body: string | null
}

/** Takes the bytes of a request apart. */
export function sentOf(bytes: string): Sent {
  const end = bytes.indexOf('\r\n\r\n')
  const [line = '', ...lines] = bytes.slice(0, end).split('\r\n')
  const [method = '', target = ''] = line.split(' ')
  const headers = lines.flatMap(header => {
    const colon = header.indexOf(':')
    return [header.slice(0, colon), header.slice(colon + 1).trim()]
  })
  const body = bytes.slice(end + 4)
  return { method, target, headers, body: body === '' ? null : body }
}

/**
 * The request as rules get it.
 * @param by a class, or the profile that says which
 * @returns null when the gate refuses it before rules are asked
 */
export function askedOf({ method, target, headers, body }: Sent, by: TrafficClass | Profile): Asked | null {
  const normal = normaliseTarget(flat(target))
  if (normal === undefined) return null
  const facts: RequestFacts = {
    method,
    host: 'rmm.example.test',
    target: flat(target),
    path: normal.path,
    pathFolded: normal.pathFolded,
    query: normal.query,
    headers: new FlatHeaders(headers.map(flat)),
    webSocket: false,
    nowMs: 0,
  }
  const scope: RuleScope = {
    class: typeof by === 'string' ? by : classOf(by, facts),
    listener: 'https',
    country: 'US',
    site: null,
    sourceText: '198.51.100.7',
    nowMs: 0,
  }
  return { facts, scope, body: body === null ? null : Buffer.from(body, 'latin1') }
}

function classOf(profile: Profile, facts: RequestFacts): TrafficClass {
  const classified = classify(profile, facts)
  return classified.clear ? (classified.rule?.class ?? 'other') : 'other'
}

/** A text of its own, as the edge makes them of bytes: parts of texts are slower to read. */
function flat(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}

/** Judges a request as the edge does. */
export function judge(rules: RuleSet, { facts, scope, body }: Asked): readonly RuleHit[] {
  const hits = rules.matchHead(facts, scope)
  if (body === null || !rules.wantsBody(facts, scope)) return hits
  const more = rules.matchBody(facts, scope, body, true, inflate)
  return more.length === 0 ? hits : [...hits, ...more]
}

const inflate: Inflate = (coding, bytes, maxBytes) => {
  const undo = {
    gzip: gunzipSync,
    deflate: inflateSync,
    'deflate-raw': inflateRawSync,
    br: brotliDecompressSync,
  }
  try {
    return { bytes: undo[coding](bytes, { maxOutputLength: maxBytes }), ended: 'complete' }
  } catch {
    return { bytes: new Uint8Array(0), ended: 'broken' }
  }
}
