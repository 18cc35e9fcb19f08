// The Grafana dashboard and the alert rules: every metric and label in them is one that the gate really has.
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import { parse } from 'yaml'
import { EVENT_NAMES } from '../../src/journal/catalogue.ts'
import { createMetrics } from '../../src/journal/metrics.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const BOARD = join(ROOT, 'docs/grafana/portcullis.json')
const ALERTS = join(ROOT, 'docs/grafana/alerts.yaml')
const PROMTOOL = ['/usr/bin/promtool', '/usr/local/bin/promtool'].find(existsSync)

/** Names that are no metrics: functions, operators and words of PromQL that are used. */
const WORDS = new Set(
  'sum min max count rate increase changes topk histogram_quantile vector by and or unless offset label_values'.split(
    ' ',
  ),
)
/** Labels that Prometheus adds itself. */
const ADDED = ['instance', 'job']

type Target = { readonly expr: string }
type Panel = {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly (Target & { readonly legendFormat: string })[]
}
type Board = {
  readonly panels: readonly Panel[]
  readonly annotations: { readonly list: readonly Target[] }
  readonly templating: { readonly list: readonly { readonly definition?: string }[] }
}
type Alert = Target & {
  readonly alert: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: { readonly summary: string; readonly remedy: string }
}

const board = JSON.parse(readFileSync(BOARD, 'utf8')) as Board
const alerts = (
  parse(readFileSync(ALERTS, 'utf8')) as { readonly groups: readonly { readonly rules: readonly Alert[] }[] }
).groups.flatMap(group => group.rules)

/** Labels of every metric of a gate that has met everything once. */
async function realMetrics(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const metrics = createMetrics({
    clock: () => 1,
    gauges: {
      connectionsOpen: () => new Map([['https', 1]]),
      webSocketsOpen: () => 1,
      heartbeatFlows: () => new Map([['udp', 1]]),
      upstreams: () => [{ group: 'rmm', member: 'rmm/primary', up: true, openRequests: 1 }],
      certificates: () => [{ name: 'a', validToMs: 2 }],
      trials: () => [{ line: 'portcullis.yaml:1:1', expiresMs: 2 }],
      geoDatabases: () => [{ role: 'first', builtMs: 1 }],
      policyLoadedMs: () => 1,
      overlay: () => ({ bans: 1, allows: 1 }),
      store: () => ({ usable: true, usedBytes: 1, queuedRows: 1, droppedRows: 1, lastBatchMs: 1 }),
      ledger: () => ({ sources: 1, cells: 1, overflowed: 1, lost: 1 }),
    },
  })
  for (const name of EVENT_NAMES) metrics.count(name, EVENT_SAMPLES[name])
  metrics.countJournalError()
  const { body } = { body: await metrics.render() }
  const found = new Map<string, Set<string>>()
  for (const line of textOf(body).split('\n')) {
    const [, name = '', labels = ''] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? /.exec(line) ?? []
    if (name === '') continue
    const known = found.get(name) ?? new Set()
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label)
    found.set(name, known)
  }
  return found
}

function textOf(rendered: unknown): string {
  return typeof rendered === 'string' ? rendered : JSON.stringify(rendered)
}

/** What an expression names: metrics with the labels they are chosen by, and labels that sums are kept by. */
function namesOf(expr: string): {
  readonly metrics: ReadonlyMap<string, readonly string[]>
  readonly kept: readonly string[]
} {
  const plain = expr.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').replaceAll(/\[[^\]]*\]/g, '')
  const kept = [...plain.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)].flatMap(([, list = '']) =>
    list.split(',').map(label => label.trim()),
  )
  const rest = plain.replaceAll(/\b(?:by|on)\s*\([^)]*\)/g, '').replaceAll(/\boffset\s+\w+/g, '')
  const metrics = new Map<string, readonly string[]>()
  for (const [, name = '', , choice = ''] of rest.matchAll(/([a-zA-Z_:][\w:]*)(\{([^}]*)\})?/g)) {
    if (WORDS.has(name) || isChoice(rest, name)) continue
    const labels = [...choice.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(match => match[1] ?? '')
    metrics.set(name, [...(metrics.get(name) ?? []), ...labels])
  }
  return { metrics, kept }
}

/** Whether a name only stands within braces, as a label. */
function isChoice(text: string, name: string): boolean {
  return !new RegExp(String.raw`\b${name}\b`).test(text.replaceAll(/\{[^}]*\}/g, ''))
}

async function unknown(expr: string): Promise<readonly string[]> {
  const real = await realMetrics()
  const { metrics, kept } = namesOf(expr)
  const problems: string[] = []
  const available = new Set(ADDED)
  for (const [name, labels] of metrics) {
    const known = name === 'up' ? new Set<string>() : real.get(name)
    if (known === undefined) problems.push(`no metric ${name}`)
    for (const label of known ?? []) available.add(label)
    for (const label of labels)
      if (known?.has(label) !== true && !ADDED.includes(label)) problems.push(`${name} has no label ${label}`)
  }
  for (const label of kept) if (!available.has(label)) problems.push(`no metric has the label ${label}`)
  return metrics.size === 0 ? [`no metric in ${expr}`] : problems
}

test('the reader of expressions finds what is wrong in them', async t => {
  t.deepEqual(
    await unknown('sum by (class) (rate(portcullis_requests_total{class="agent"}[5m] offset 1d))'),
    [],
  )
  t.deepEqual(await unknown('rate(portcullis_request_total[5m])'), ['no metric portcullis_request_total'])
  t.deepEqual(await unknown('portcullis_requests_total{klass="a"}'), [
    'portcullis_requests_total has no label klass',
  ])
  t.deepEqual(await unknown('sum by (country) (portcullis_store_usable)'), [
    'no metric has the label country',
  ])
})

test('every panel asks for metrics and labels that there are, and shows labels that its sums keep', async t => {
  const seen: string[] = []
  for (const { title, description, type, targets = [] } of board.panels) {
    if (type !== 'row') t.true((description ?? '').length > 20 && targets.length > 0, `${title} is explained`)
    for (const { expr, legendFormat } of targets) {
      seen.push(expr)
      t.deepEqual(await unknown(expr), [], `${title}: ${expr}`)
      const { metrics, kept } = namesOf(expr)
      const real = await realMetrics()
      const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(match => match[1] ?? '')
      const isSum = /\b(?:sum|min|max|count)\b/.test(expr)
      const own = [...metrics.keys()].flatMap(name => [...(real.get(name) ?? [])])
      for (const label of shown)
        t.true((isSum ? kept : [...own, ...ADDED]).includes(label), `${title}: {{${label}}} of ${expr}`)
    }
  }
  t.true(seen.length >= 25)
  for (const { expr } of board.annotations.list) t.deepEqual(await unknown(expr), [], expr)
  for (const { definition } of board.templating.list)
    if (definition !== undefined) t.deepEqual(await unknown(definition.replace(', instance', '')), [])
})

test('panels lie beside each other, not on each other', t => {
  t.is(new Set(board.panels.map(panel => panel.id)).size, board.panels.length)
  for (const [index, { gridPos: a, title }] of board.panels.entries()) {
    t.true(a.x + a.w <= 24, title)
    for (const { gridPos: b, title: other } of board.panels.slice(index + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
      t.true(apart, `${title} and ${other}`)
    }
  }
})

test('every alert asks for metrics that there are, names labels that it has, and says what to do', async t => {
  t.is(new Set(alerts.map(rule => rule.alert)).size, alerts.length)
  for (const { alert, expr, labels, annotations } of alerts) {
    t.deepEqual(await unknown(expr), [], `${alert}: ${expr}`)
    t.true(['page', 'ticket'].includes(labels['severity'] ?? ''), alert)
    t.true(annotations.summary.length > 20 && annotations.remedy.length > 20, alert)
    const real = await realMetrics()
    const { metrics, kept } = namesOf(expr)
    const has = kept.length > 0 ? kept : [...metrics.keys()].flatMap(name => [...(real.get(name) ?? [])])
    for (const [, label = ''] of annotations.summary.matchAll(/\$labels\.(\w+)/g))
      t.true([...has, ...ADDED].includes(label), `${alert}: ${label}`)
  }
  for (const wanted of [
    'AgentsGone',
    'RefusalsRising',
    'UpstreamDown',
    'CertificateExpiring',
    'DatabaseStale',
    'JournalDropping',
    'ConnectorGone',
    'HeartbeatsUnanswered',
    'SiteGone',
    'AllGone',
    'HeartbeatsOverrun',
    'IdentityRefused',
    'TunnelProtocolBroken',
    'TrialEnds',
    'PolicyRolledBack',
  ])
    t.true(
      alerts.some(rule => rule.alert === `Portcullis${wanted}`),
      wanted,
    )
})

const withPromtool = PROMTOOL === undefined ? test.skip : test
withPromtool('promtool, where it is installed, takes the alert rules, and they fire when they should', t => {
  const situations = join(import.meta.dirname, 'alerts-test.yaml')
  t.regex(execFileSync(PROMTOOL ?? '', ['test', 'rules', situations], { encoding: 'utf8' }), /SUCCESS/)
  t.regex(execFileSync(PROMTOOL ?? '', ['check', 'rules', ALERTS], { encoding: 'utf8' }), /SUCCESS/)
})
