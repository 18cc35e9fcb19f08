// The pure parts of the benchmark: statistics, ratios, goals, tables, self times, growth.
import test from 'ava'
import { array, assert, integer, property } from 'fast-check'
import { judge } from '../../bench/report/goals.ts'
import { judgeGrowth } from '../../bench/report/growth.ts'
import { ratio, summarise, type Result } from '../../bench/report/result.ts'
import { filesBySelfTime, functionsBySelfTime } from '../../bench/report/self-time.ts'
import { linearFit, median, percentile, spread } from '../../bench/report/statistics.ts'
import { align, betweenMarkers, markdownReport, textReport } from '../../bench/report/table.ts'
import type { RowId, Sample } from '../../bench/rows.ts'

const sample = (value: number, failed = 0, busy = 1): Sample => ({
  value,
  second: 1,
  busy,
  ran: busy,
  failed,
})

function result(cells: Readonly<Record<string, readonly Sample[]>>, id: RowId = 'get'): Result {
  return {
    date: '2026-01-02T03:04:05Z',
    machine: 'a machine',
    upstream: 'an upstream',
    seconds: 4,
    rounds: 3,
    webSockets: 5_000,
    ratePerSecond: 333,
    quick: false,
    peers: [{ id: 'nginx', version: 'nginx/9', work: 'TLS', tls: 'TLSv1.3' }],
    skipped: [{ peer: 'caddy', row: 'all', reason: 'not installed here' }],
    rows: [
      {
        id,
        title: 'A row',
        unit: 'µs',
        second: 'requests/s',
        cells: Object.entries(cells).map(([peer, samples]) => ({ peer, samples })),
      },
    ],
  }
}

test('median takes the middle, or the mean of the two middles', t => {
  t.is(median([3, 1, 2]), 2)
  t.is(median([4, 1, 2, 3]), 2.5)
  t.true(Number.isNaN(median([])))
})

test('a percentile is one of the values, and as many per cent of them are not above it', t => {
  t.is(percentile([1, 2, 3, 4], 50), 2)
  t.is(percentile([1, 2, 3, 4], 99), 4)
  t.notThrows(() =>
    assert(
      property(array(integer(), { minLength: 1 }), integer({ min: 1, max: 100 }), (values, percent) => {
        const sorted = values.toSorted((a, b) => a - b)
        const found = percentile(sorted, percent)
        const notAbove = sorted.filter(value => value <= found).length
        return sorted.includes(found) && notAbove >= (percent / 100) * sorted.length
      }),
    ),
  )
})

test('spread is the range over the median', t => {
  t.is(spread([9, 10, 12]), 0.3)
})

test('a fit finds the line that the points lie on', t => {
  t.notThrows(() =>
    assert(
      property(integer({ min: -50, max: 50 }), integer({ min: -50, max: 50 }), (slope, intercept) => {
        const fit = linearFit([0, 1, 2, 5].map(x => [x, intercept + slope * x] as const))
        return Math.abs(fit.slope - slope) < 1e-9 && Math.abs(fit.intercept - intercept) < 1e-9
      }),
    ),
  )
})

test('ratios are taken round by round, so that a slow minute hits both peers', t => {
  const noisy = result({
    nginx: [10, 100, 20].map(v => sample(v)),
    portcullis: [20, 200, 60].map(v => sample(v)),
  })
  t.is(ratio(noisy, 'get', 'portcullis', 'nginx'), 2)
  t.is(ratio(noisy, 'get', 'portcullis', 'caddy'), null)
  t.is(ratio(noisy, 'post', 'portcullis', 'nginx'), null)
})

test('a goal is met, missed or not measured, and never met by failing requests', t => {
  const goal = (cells: Readonly<Record<string, readonly Sample[]>>) =>
    judge(result(cells)).find(entry => entry.text === 'GET: at most 3 x nginx')
  t.like(goal({ nginx: [sample(10)], portcullis: [sample(29)] }), { met: true, reached: '2.90 x' })
  t.like(goal({ nginx: [sample(10)], portcullis: [sample(31)] }), { met: false, reached: '3.10 x' })
  t.like(goal({ nginx: [sample(10)], portcullis: [sample(29, 1)] }), { met: false })
  t.like(goal({ nginx: [sample(10)] }), { met: null, reached: 'not measured' })
  t.like(
    judge(result({ portcullis: [sample(61)] }, 'websocket')).find(entry => entry.text.startsWith('Idle')),
    { met: false, reached: '61.0 kB' },
  )
})

test('a cell sums up to medians and to all failures', t => {
  t.like(summarise({ peer: 'x', samples: [sample(1, 1, 0.5), sample(2, 0, 0.9), sample(9, 2, 1)] }), {
    value: 2,
    failed: 3,
    busy: 0.9,
  })
})

test('tables are aligned', t => {
  t.is(
    align([
      ['a', '1'],
      ['bcd', '234'],
    ]),
    'a      1\nbcd  234',
  )
})

test('reports name versions, skipped peers, failures and a core that was not busy', t => {
  const mixed = result({ nginx: [sample(10, 0, 0.5)], portcullis: [sample(20, 7)] })
  for (const report of [textReport(mixed), markdownReport(mixed)]) {
    t.regex(report, /nginx\/9/)
    t.regex(report, /caddy.*not installed here/)
    t.regex(report, /7 failed/)
    t.regex(report, /core 50 % busy/)
    t.regex(report, /2\.00/)
  }
})

test('the table replaces what stands between the markers and nothing else', t => {
  const before = 'a\n<!-- bench:start -->\nold\n<!-- bench:end -->\nz\n'
  t.is(betweenMarkers(before, 'new'), 'a\n<!-- bench:start -->\n\nnew\n\n<!-- bench:end -->\nz\n')
  t.throws(() => betweenMarkers('no markers', 'new'), { message: /markers/ })
})

test('self time leaves idle time out and groups by file', t => {
  const frame = (functionName: string, url: string) => ({ functionName, url, lineNumber: 9 })
  const profile = {
    nodes: [
      { id: 1, callFrame: frame('(idle)', '') },
      { id: 2, callFrame: frame('one', 'file:///somewhere/src/a.ts') },
      { id: 3, callFrame: frame('', 'file:///somewhere/src/a.ts') },
    ],
    samples: [1, 2, 2, 3],
    timeDeltas: [9_000, 1_000, 2_000, 1_000],
  }
  t.deepEqual(functionsBySelfTime(profile), [
    { name: 'one src/a.ts:10', ms: 3, share: 0.75 },
    { name: '(anonymous) src/a.ts:10', ms: 1, share: 0.25 },
  ])
  t.deepEqual(filesBySelfTime(profile), [{ name: 'src/a.ts', ms: 4, share: 1 }])
})

test('growth is a slope that is certain and matters', t => {
  const series = (value: (minute: number) => number) =>
    Array.from({ length: 40 }, (_, index) => [index / 4, value(index / 4)] as const)
  const wobble = (minute: number) => 3 * Math.sin(minute * 40)
  t.true(
    judgeGrowth(
      'leak',
      series(minute => 1_000 + 20 * minute + wobble(minute)),
    ).grows,
  )
  t.false(
    judgeGrowth(
      'steady',
      series(minute => 1_000 + wobble(minute)),
    ).grows,
  )
  t.false(
    judgeGrowth(
      'shrinking',
      series(minute => 1_000 - 20 * minute),
    ).grows,
  )
  t.false(
    judgeGrowth(
      'warm-up only',
      series(minute => (minute < 2 ? 500 + 250 * minute : 1_000) + wobble(minute)),
    ).grows,
  )
})

test('a number from a core that others were using says so', t => {
  const crowded = result({ nginx: [{ ...sample(10), ran: 0.3 }] })
  t.regex(textReport(crowded), /quiet machine/)
  t.notRegex(textReport(result({ nginx: [sample(10)] })), /quiet machine/)
})
