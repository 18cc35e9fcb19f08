// Views of customers, rules and policies: hostile text stays text, states follow from facts, differences can be put together again.
import test from 'ava'
import * as fc from 'fast-check'
import { sparkline, timelineChart } from '../../../src/admin/dashboard/pages/charts.ts'
import { diagnosisPanel } from '../../../src/admin/dashboard/pages/diagnosis.ts'
import { historyView, versionView } from '../../../src/admin/dashboard/pages/history.ts'
import { outcomeView, planView } from '../../../src/admin/dashboard/pages/plan.ts'
import { refusalTable } from '../../../src/admin/dashboard/pages/refusals.ts'
import { siteHealth } from '../../../src/admin/dashboard/pages/site-health.ts'
import { siteRows, sitesView } from '../../../src/admin/dashboard/pages/sites.ts'
import { textDiff } from '../../../src/admin/dashboard/pages/text-diff.ts'
import { rangesOverlap, rangeWithin } from '../../../src/admin/dashboard/pages/within.ts'
import { worldMap } from '../../../src/admin/dashboard/pages/world-map.ts'
import { countryName, GRID, TILES } from '../../../src/admin/dashboard/pages/world-tiles.ts'
import { worldView } from '../../../src/admin/dashboard/pages/world.ts'
import { exceptionListView, exceptionView } from '../../../src/admin/dashboard/pages/exceptions.ts'
import { falsePositiveView } from '../../../src/admin/dashboard/pages/false-positive.ts'
import { rulesView } from '../../../src/admin/dashboard/pages/rules.ts'
import { ruleView } from '../../../src/admin/dashboard/pages/rule.ts'
import { addressView, sourcesView } from '../../../src/admin/dashboard/pages/addresses.ts'
import { SPANS } from '../../../src/admin/dashboard/pages/span.ts'
import { html } from '../../../src/admin/dashboard/html.ts'
import type { RuleInfo } from '../../../src/ips/rule-set.ts'
import type { StoredEvent } from '../../../src/journal/store-events.ts'
import { at, cidr, site as makeSite } from '../../support/snapshot.ts'

const NOW = Date.UTC(2026, 10, 21, 12)
const HOUR = 3_600_000
const EVIL = `"><script>alert(1)</script><img src=x onerror='x'>&"`
const csrf = html`<input type="hidden" name="csrf" value="t" />`
const DAY = SPANS[0] ?? { id: '24h', words: 'a day', hours: 24 }

const event: StoredEvent = {
  id: 1,
  timeMs: NOW,
  name: 'request.refused',
  severity: 'info',
  address: EVIL,
  site: EVIL,
  class: EVIL,
  reason: 'rule',
  reference: EVIL,
  fields: {
    method: EVIL,
    host: EVIL,
    path: EVIL,
    saw: EVIL,
    hits: [{ ruleId: EVIL, field: EVIL, value: EVIL }],
  },
}
const rule: RuleInfo = {
  id: EVIL,
  title: EVIL,
  severity: 'high',
  mode: 'enforce',
  pack: EVIL,
  tags: [EVIL],
  phase: 'head',
  action: 'block',
  overrides: [],
  rate: null,
  enforceAfterDays: null,
  digest: '',
  refs: [EVIL],
  exceptions: [{ reason: EVIL, owner: EVIL, at: at(3), expiresMs: NOW }],
  at: at(1),
}
const source = { address: EVIL, site: EVIL, hits: 1, lastMs: NOW, knownAgent: true }
const place = { site: EVIL, host: EVIL, path: EVIL, class: EVIL, field: EVIL, hits: 1, lastMs: NOW }
const detail = { examples: [event], sources: [source], places: [place], read: 1, complete: true }
const counts = { admitted: 1, failed: 1, refused: 1 }
const device = {
  ...counts,
  address: EVIL,
  ja4: EVIL,
  userAgent: EVIL,
  classes: [EVIL],
  trouble: 'banned',
  tls: 'TLSv1',
  lastMs: NOW,
} as const
const devices = {
  devices: [device],
  deviceCount: 1,
  heartbeats: [{ address: EVIL, answered: 1, unanswered: 1, lastMs: NOW, lastAnsweredMs: null }],
  tls: [],
  sources: [EVIL],
  complete: false,
}
const diagnosis = {
  address: EVIL,
  healthy: false,
  cause: EVIL,
  sentence: EVIL,
  steps: [EVIL],
  yaml: EVIL,
}
const version = { number: 2, atMs: NOW, who: EVIL, why: EVIL, changes: [EVIL] }

test('text of clients, policies and operators never becomes markup, on any page', t => {
  const change = {
    kind: 'lost',
    address: EVIL,
    site: EVIL,
    country: EVIL,
    class: EVIL,
    reason: EVIL,
    saw: EVIL,
    line: EVIL,
    count: 1,
    lastMs: NOW,
    activeAgent: true,
  } as const
  const pages = {
    world: worldView({
      traffic: [{ country: EVIL, ...counts }],
      span: DAY,
      sinceMs: 0,
      countedSinceMs: NOW,
    }),
    refusals: refusalTable([event], NOW),
    rules: rulesView({
      rules: [rule],
      hits: [
        { rule: EVIL, detected: 1, refused: 1, excepted: 0, sites: [EVIL], outside: true, lastHourMs: NOW },
        { rule: `${EVIL}2`, detected: 1, refused: 1, excepted: 0, sites: [], outside: true, lastHourMs: NOW },
      ],
      agents: [{ rule: EVIL, knownAgents: 1, sources: 2 }],
      search: EVIL,
      show: 'all',
      page: 1,
    }),
    rule: ruleView({ rule, detail, hours: [], text: EVIL, mayExcept: true, nowMs: NOW }),
    falsePositive: falsePositiveView({
      rule,
      event,
      proposed: { ok: true, yaml: EVIL, opens: EVIL, stays: EVIL },
      detail,
      csrf,
    }),
    address: addressView({ site: null, devices, events: [event], diagnoses: [diagnosis], nowMs: NOW }),
    sources: sourcesView({
      unknown: {
        sources: [{ ...counts, address: EVIL, trouble: null, lastMs: NOW }],
        complete: false,
      },
      search: '',
      nowMs: NOW,
    }),
    except: exceptionView({
      event,
      proposed: { ok: false, code: 'virtual-patch', problem: EVIL, remedy: EVIL },
      csrf,
    }),
    exceptions: exceptionListView(
      [
        {
          kind: 'allow',
          what: EVIL,
          reason: EVIL,
          owner: EVIL,
          expiresMs: NOW,
          ended: true,
          line: EVIL,
          lastUsedMs: null,
        },
      ],
      NOW,
    ),
    history: historyView([version]),
    version: versionView({
      version,
      files: [{ name: EVIL, before: `a\n${EVIL}`, after: `${EVIL}\nb` }],
      isCurrent: false,
      csrf,
    }),
    plan: planView({
      job: {
        id: 1,
        kind: 'text',
        files: [{ name: EVIL, before: EVIL, after: `${EVIL}${EVIL}` }],
        meaning: [EVIL],
        reason: EVIL,
        isOpen: true,
        who: EVIL,
        subject: EVIL,
        startedMs: NOW,
        progress: EVIL,
        endedMs: NOW,
        outcome: {
          kind: 'done',
          changes: [EVIL],
          replay: { rows: 1, sources: 1, agents: 1, lostAgents: 1, changes: [change], more: 2 },
          rules: [{ ruleId: EVIL, hits: 1, sourceCount: 1, knownAgents: 1 }],
        },
      },
      csrf,
      nowMs: NOW,
    }),
    invalid: outcomeView({ kind: 'invalid', problems: [EVIL] }, NOW),
    failed: outcomeView({ kind: 'failed', problem: EVIL }, NOW),
  }
  for (const [name, page] of Object.entries(pages)) {
    const text = page.toString()
    t.true(text.includes('&lt;script&gt;'), `${name} shows it`)
    t.false(/<script|<img|onerror='x'/.test(text), `${name} escapes it`)
    // In an address, too, it stays within the attribute.
    for (const [, value = ''] of text.matchAll(/(?:href|action|value|aria-label)="([^"]*)"/g))
      t.false(value.includes('<'), `${name}: ${value}`)
  }
})

test('a site is as its traffic says', t => {
  const traffic = { admitted: 100, failed: 0, refused: 0, answered: 0, unanswered: 0 }
  const seen = { lastAdmittedMs: NOW - 60_000, lastRefusedMs: null }
  const word = (
    a: Partial<typeof traffic> | null,
    b: Partial<{ lastAdmittedMs: number | null; lastRefusedMs: number | null }> | null,
  ): string =>
    siteHealth(
      { traffic: a === null ? null : { ...traffic, ...a }, seen: b === null ? null : { ...seen, ...b } },
      NOW,
    ).word
  t.is(word({}, {}), 'healthy')
  t.is(word(null, null), 'never seen')
  t.is(word({ admitted: 0 }, { lastAdmittedMs: null }), 'never seen')
  t.is(word({}, { lastAdmittedMs: NOW - 2 * HOUR }), 'silent')
  t.is(word({ refused: 9 }, { lastAdmittedMs: NOW - 2 * HOUR, lastRefusedMs: NOW }), 'refused')
  t.is(word({ refused: 9 }, { lastAdmittedMs: null, lastRefusedMs: NOW }), 'refused')
  t.is(word({}, { lastAdmittedMs: NOW - 50 * HOUR, lastRefusedMs: NOW - 49 * HOUR }), 'silent')
  t.is(word({ failed: 50 }, {}), 'trouble')
  t.is(word({ unanswered: 5 }, {}), 'trouble')
  t.is(word({ answered: 6, unanswered: 5 }, {}), 'healthy')
  t.is(word({ refused: 40 }, { lastRefusedMs: NOW }), 'trouble')
  t.is(word({ refused: 1 }, { lastRefusedMs: NOW }), 'healthy')
})

test('the list of sites sorts, searches and filters', t => {
  const sites = ['alpha', 'beta', 'gamma'].map(id => makeSite(id, [`198.51.100.${id.length}`]))
  const traffic = sites.map(({ id }, index) => ({
    site: id,
    admitted: 10 * (index + 1),
    failed: 0,
    refused: index === 1 ? 100 : 0,
    answered: 0,
    unanswered: 0,
    admittedByHour: [1],
    refusedByHour: [0],
  }))
  const rows = siteRows(
    sites,
    traffic,
    sites.map(({ id }, index) => ({
      site: id,
      lastAdmittedMs: index === 2 ? NOW - 5 * HOUR : NOW,
      lastRefusedMs: index === 1 ? NOW : null,
    })),
    NOW,
  )
  const shown = (more: Partial<Parameters<typeof sitesView>[0]>): string[] => {
    const base = {
      rows,
      outside: null,
      search: '',
      order: 'state',
      onlyUnwell: false,
      page: 1,
      nowMs: NOW,
    } as const
    const text = sitesView({ ...base, ...more }).toString()
    return [...text.matchAll(/href="\/sites\/(\w+)"/g)].map(match => match[1] ?? '')
  }
  t.deepEqual(shown({}), ['gamma', 'beta', 'alpha'], 'the worst first')
  t.deepEqual(shown({ order: 'name' }), ['alpha', 'beta', 'gamma'])
  t.deepEqual(shown({ order: 'admitted' }), ['gamma', 'beta', 'alpha'])
  t.deepEqual(shown({ order: 'last' })[0], 'gamma')
  t.deepEqual(shown({ onlyUnwell: true }), ['gamma', 'beta'])
  t.deepEqual(shown({ search: 'BET' }), ['beta'])
  t.deepEqual(shown({ search: 'nothing' }), [])
  t.deepEqual(shown({ page: 99 }), ['gamma', 'beta', 'alpha'], 'beyond the end is the last page')
  t.deepEqual(shown({ page: Number.NaN }), ['gamma', 'beta', 'alpha'])
})

test('every country has one tile, a name and a link when it has traffic; marks differ in shape', t => {
  t.is(new Set(TILES.map(tile => tile.code)).size, TILES.length)
  t.is(new Set(TILES.map(tile => `${tile.column} ${tile.row}`)).size, TILES.length)
  t.true(TILES.every(tile => tile.column < GRID.columns && tile.row < GRID.rows))
  t.true(
    TILES.every(tile => countryName(tile.code) !== tile.code),
    'each has a name',
  )
  for (const code of ['US', 'DE', 'CN', 'AU', 'ZA', 'BR', 'JP', 'GB', 'LI', 'TV'])
    t.true(TILES.some(tile => tile.code === code))
  const map = worldMap(
    [
      { country: 'DE', admitted: 5, failed: 0, refused: 0 },
      { country: 'CN', admitted: 0, failed: 0, refused: 1_204 },
      { country: 'US', admitted: 7, failed: 1, refused: 3 },
    ],
    '24h',
  ).toString()
  t.is([...map.matchAll(/<a\b/g)].length, 3)
  t.regex(map, /aria-label="CN, China: 0 admitted, 1,204 refused"/)
  t.regex(map, /aria-label="US, United States: 8 admitted, 3 refused"/)
  t.is([...map.matchAll(/<circle/g)].length, 2)
  t.is([...map.matchAll(/class="refused"/g)].length, 2)
  t.is(countryName('private'), 'Private addresses')
  t.is(countryName('constructor'), 'constructor')
})

test('charts say in words what they draw, and a chart without traffic is a line', t => {
  t.regex(
    sparkline([1, 2], [0, 3], 'last 2 hours').toString(),
    /aria-label="last 2 hours: 3 admitted, 3 refused; at most 3 an hour"/,
  )
  t.false(/NaN|Infinity/.test(sparkline([], [], 'x').toString()))
  t.false(/NaN|Infinity/.test(timelineChart([], 'x').toString()))
  const chart = timelineChart([{ label: '12:00', admitted: 5, refused: 0 }], 'caption').toString()
  t.regex(chart, /12:00: 5 admitted, 0\s+refused/)
  t.regex(diagnosisPanel(null, 1).toString(), /being worked out/)
})

test('property: both texts come out of their difference', t => {
  const line = fc.constantFrom('a', 'b', 'c', '', 'sites:', '  x: 1')
  fc.assert(
    fc.property(fc.array(line, { maxLength: 30 }), fc.array(line, { maxLength: 30 }), (old, now) => {
      const lines = textDiff(old.join('\n'), now.join('\n'))
      const take = (kind: 'removed' | 'added', all: readonly string[]): string[] => {
        let position = 0
        return lines.flatMap(entry => {
          if (entry.kind === 'gap') {
            const left = all.slice(position, position + Number(entry.text))
            position += left.length
            return left
          }
          if (entry.kind !== 'same' && entry.kind !== kind) return []
          position++
          return [entry.text]
        })
      }
      const clean = (texts: readonly string[]): string[] =>
        texts.join('\n') === '' ? [] : texts.join('\n').replace(/\n$/, '').split('\n')
      if (lines.length === 0) t.deepEqual(clean(old), clean(now))
      else {
        t.deepEqual(take('removed', clean(old)), clean(old))
        t.deepEqual(take('added', clean(now)), clean(now))
      }
    }),
    { numRuns: 200 },
  )
  const long = Array.from({ length: 3_000 }, (_, index) => `a${index}`)
  const other = long.map(text => `${text}x`)
  t.is(textDiff(long.join('\n'), other.join('\n')).length, 6_000, 'beyond the limit: replaced as a whole')
})

test('an operator of a site reaches its addresses and nothing around them', t => {
  const ranges = [cidr('198.51.100.0/28'), cidr('2001:db8::/48')]
  for (const inside of ['198.51.100.3', '198.51.100.0/28', '198.51.100.8/29', '2001:db8:0:1::/64'])
    t.true(rangeWithin(inside, ranges), inside)
  for (const outside of ['198.51.100.0/27', '198.51.100.16', '0.0.0.0/0', '::/0', '2001:db8::/32', 'x', ''])
    t.false(rangeWithin(outside, ranges), outside)
  t.true(rangesOverlap('0.0.0.0/0', ranges))
  t.false(rangesOverlap('203.0.113.0/24', ranges))
  t.false(rangesOverlap('nonsense', ranges))
})
