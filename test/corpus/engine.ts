// Asks the shipped rules about requests of the corpus the way the gate does: class by profile, head, body, messages.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { loadPolicy } from '../../src/config/load.ts'
import { renderProblem } from '../../src/config/problems.ts'
import type { RuleHit, RuleScope } from '../../src/ips/rule-set.ts'
import { normaliseTarget } from '../../src/ips/target.ts'
import { classify } from '../../src/policy/classify.ts'
import type { RequestFacts } from '../../src/policy/facts.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import { nameOf, type BenignRequest } from './benign.ts'

const ROOT = resolve(import.meta.dirname, '../..')

/** Every shipped profile. */
export const PROFILES = [
  'connectwise-automate',
  'screenconnect',
  'kaseya-vsa',
  'n-central',
  'meshcentral',
  'tacticalrmm',
] as const

/** The names of a policy in which every shipped profile is in use. */
export function allNames(upstream: string): Record<string, { upstream: string; profile: string }> {
  return Object.fromEntries(PROFILES.map(profile => [nameOf(profile), { upstream, profile }]))
}

/** Loads the shipped rules with every profile and every pack in use, in the modes in which they ship. */
export function shippedSnapshot(): Snapshot {
  const root = mkdtempSync(join(tmpdir(), 'portcullis-corpus-'))
  try {
    const directory = join(root, 'policies')
    mkdirSync(directory)
    for (const name of ['profiles', 'rules'])
      cpSync(join(ROOT, 'policies', name), join(directory, name), { recursive: true })
    const policy = {
      version: 1,
      home: ['US'],
      model: 'all-traffic',
      profile: PROFILES[0],
      listeners: { https: { address: '127.0.0.1:8443' } },
      names: allNames('rmm'),
      upstreams: { rmm: { primary: 'http://127.0.0.1:9080' } },
    }
    writeFileSync(join(directory, 'portcullis.yaml'), `${JSON.stringify(policy)}\n`)
    const loaded = loadPolicy({ directory, nowMs: Date.UTC(2026, 10, 21) })
    if (!loaded.ok) throw new Error(loaded.problems.map(renderProblem).join('\n'))
    return loaded.snapshot
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

/** What the rules made of a request; `refused` says why it did not come to rules at all. */
export type Judged = { readonly refused: string | null; readonly hits: readonly RuleHit[] }

/** Judges a request as the gate would. */
export function judge(snapshot: Snapshot, request: BenignRequest): Judged {
  const normal = normaliseTarget(request.target)
  if (normal === undefined) return { refused: 'target-invalid', hits: [] }
  const profile = snapshot.names.find(({ host }) => host === nameOf(request.profile))?.profile
  if (profile === undefined) throw new Error(`no name is served with profile ${request.profile}`)
  const facts = factsOf(request, normal)
  const classified = classify(profile, facts)
  if (!classified.clear)
    return { refused: `read as ${classified.readAs} and ${classified.butAlso}`, hits: [] }
  const scope: RuleScope = {
    class: classified.rule?.class ?? 'other',
    site: null,
    sourceText: '198.51.100.7',
    listener: 'https',
    country: 'US',
    nowMs: 0,
  }
  const { rules, limits } = snapshot
  const hits = [...rules.matchHead(facts, scope)]
  if (request.body !== null && rules.wantsBody(facts, scope)) {
    const judged = request.body.subarray(0, limits.inspectBytes)
    hits.push(...rules.matchBody(facts, scope, judged, judged.length === request.body.length))
  }
  const wanted = rules.messagesWanted(facts, scope)
  let earlier = ''
  for (const [index, message] of request.messages.slice(0, wanted).entries()) {
    const kind = typeof message === 'string' ? 'text' : 'binary'
    const text = Buffer.from(message).toString('latin1')
    hits.push(...rules.matchMessage(facts, scope, { number: index + 1, kind, text, complete: true, earlier }))
    earlier += text
  }
  return { refused: null, hits }
}

/** Hits that refuse the request. */
export function refusals({ hits }: Judged): readonly RuleHit[] {
  return hits.filter(({ mode, exception }) => mode === 'enforce' && exception === null)
}

function factsOf(
  request: BenignRequest,
  normal: Pick<RequestFacts, 'path' | 'pathFolded' | 'query'>,
): RequestFacts {
  const host = nameOf(request.profile)
  const headers = new Map(Object.entries(request.headers))
  headers.set('host', host)
  if (request.body !== null) headers.set('content-length', String(request.body.length))
  return {
    method: request.method,
    host,
    target: request.target,
    ...normal,
    headers: { get: name => headers.get(name), raw: [...headers].flat() },
    webSocket: request.webSocket,
    nowMs: 0,
  }
}
