// The evaluator of the internal rule form: order, targets, transforms, negation, counts, effects, markers, budget, prefilter.
import test from 'ava'
import { array, assert, boolean, constantFrom, integer, nat, property, record } from 'fast-check'
import { Engine, newRun, type EngineOptions } from '../../src/ips/engine/engine.ts'
import type { Inspected } from '../../src/ips/parts/inspected.ts'
import type {
  Collection,
  Expression,
  FieldValue,
  Marker,
  Operator,
  Rule,
  RulePhase,
  Run,
  Test,
  Transform,
} from '../../src/ips/rule.ts'
import { requestFacts } from '../policy/request.ts'

const at = { file: 'test', line: 1, column: 1 }

function inspected(target: string, query: Inspected['query'] = []): Inspected {
  return {
    facts: requestFacts('GET', target),
    query,
    queryBase64: [],
    cookies: [],
    body: null,
    message: null,
    memo: null,
  }
}

const args: Collection = {
  id: 'ARGS',
  phase: 'body',
  volatile: false,
  read: ({ query }) =>
    query.map(({ name, value }) => ({
      field: `ARGS:${name}`,
      name: name.toLowerCase(),
      value,
      secret: false,
    })),
}
const path: Collection = {
  id: 'PATH',
  phase: 'head',
  volatile: false,
  read: ({ facts }) => [{ field: 'PATH', name: '', value: facts.path, secret: false }],
}
const tx: Collection = {
  id: 'TX',
  phase: 'head',
  volatile: true,
  read: (_, { tx: state }) =>
    [...state].map(([name, value]) => ({ field: `TX:${name}`, name, value, secret: false })),
}
const matchedVars: Collection = {
  id: 'MATCHED_VARS',
  phase: 'head',
  volatile: true,
  read: (_, run) => run.matchedAll,
}

/** @param requires whether it says what it needs */
function has(text: string, requires = true): Operator {
  return {
    id: `has ${text}`,
    cost: 1,
    requires: requires
      ? [Array.from(text, char => [[char.charCodeAt(0), char.charCodeAt(0)] as const])]
      : null,
    find: value => {
      const index = value.indexOf(text)
      return index < 0 ? null : { at: index, length: text.length }
    },
  }
}
const equals = (text: string): Operator => ({
  id: `equals ${text}`,
  cost: 1,
  requires: null,
  find: value => (value === text ? { at: 0, length: value.length } : null),
})

const lower: Transform = { id: 'lower', apply: value => value.toLowerCase() }
const undot: Transform = { id: 'undot', apply: value => value.replaceAll('.', '') }

function ask(operator: Operator, parts: Partial<Test> & { on?: Collection } = {}): Test {
  const { on = args, ...rest } = parts
  return {
    targets: [{ collection: on, only: null, except: [], count: false }],
    transforms: [],
    operator,
    negated: false,
    multiMatch: false,
    effects: [],
    at,
    ...rest,
  }
}
const whole = (value: Test): Expression => ({ kind: 'test', test: value })

function rule(id: string, when: Expression, parts: Partial<Rule> = {}): Rule {
  return {
    id,
    title: id,
    severity: 'low',
    pack: 'test',
    tags: [],
    refs: [],
    phase: 'head',
    when,
    action: 'score',
    skipTo: null,
    at,
    ...parts,
  }
}

function fired(
  steps: readonly (Rule | Marker)[],
  request: Inspected,
  options: EngineOptions & { run?: Run; phase?: RulePhase } = {},
): string[] {
  const { run = newRun(), phase = 'head', ...rest } = options
  const engine = new Engine(steps, rest)
  const ids: string[] = []
  const ending = engine.run(phase, engine.begin(request, run), firing => {
    ids.push(`${firing.rule.id} ${firing.found?.value.field ?? '-'}`)
    return false
  })
  if (ending !== 'done') ids.push(ending)
  return ids
}

const one = (value: string, name = 'a'): Inspected => inspected('/', [{ name, value }])

test('tests ask transformed values, first match first, and negation needs a value', t => {
  const rules = [
    rule('plain', whole(ask(has('evil')))),
    rule('lower', whole(ask(has('evil'), { transforms: [lower] }))),
    rule('both', whole(ask(has('evil'), { transforms: [lower, undot] }))),
    rule('not', whole(ask(has('evil'), { negated: true }))),
    rule('none', { kind: 'not', part: whole(ask(has('evil'))) }),
  ]
  t.deepEqual(fired(rules, one('EV.IL')), ['both ARGS:a', 'not ARGS:a', 'none -'])
  t.deepEqual(fired(rules, one('EVIL')), ['lower ARGS:a', 'both ARGS:a', 'not ARGS:a', 'none -'])
  t.deepEqual(fired(rules, one('evil')), ['plain ARGS:a', 'lower ARGS:a', 'both ARGS:a'])
  t.deepEqual(fired(rules, inspected('/')), ['none -'])
})

test('targets pick and leave out members, and count them', t => {
  const request = inspected('/', [
    { name: 'A', value: 'evil' },
    { name: 'b', value: 'evil' },
    { name: 'a', value: 'good' },
  ])
  const target = (parts: object): Partial<Test> => ({
    targets: [{ collection: args, only: null, except: [], count: false, ...parts }],
  })
  const named = (wanted: string) => (name: string) => name === wanted
  const rules = [
    rule('only', whole(ask(has('evil'), target({ only: named('b') })))),
    rule('except', whole(ask(has('evil'), target({ except: [named('a')] })))),
    rule('all', whole(ask(has('evil'), target({ except: [named('a'), named('b')] })))),
    rule('count', whole(ask(equals('3'), target({ count: true })))),
    rule('countA', whole(ask(equals('2'), target({ count: true, only: named('a') })))),
    rule('count0', whole(ask(equals('0'), target({ count: true, only: named('c') })))),
  ]
  t.deepEqual(fired(rules, request), [
    'only ARGS:b',
    'except ARGS:b',
    'count &ARGS',
    'countA &ARGS',
    'count0 &ARGS',
  ])
})

test('effects happen once per matching value, and what matched can be read by the next link', t => {
  const run = newRun()
  const add = (state: Run): void => {
    state.tx.set('score', String(Number(state.tx.get('score') ?? '0') + 1))
  }
  const rules = [
    rule('adds', whole(ask(has('evil'), { effects: [add] }))),
    rule('reads', whole(ask(equals('2'), { on: tx }))),
    rule('chain', {
      kind: 'all',
      parts: [whole(ask(has('evil'))), whole(ask(has('worse'), { on: matchedVars }))],
    }),
    rule('always', { kind: 'always', effects: [state => void state.tx.set('done', 'yes')] }),
  ]
  const request = inspected('/', [
    { name: 'a', value: 'evil' },
    { name: 'b', value: 'good' },
    { name: 'c', value: 'evil worse' },
  ])
  t.deepEqual(fired(rules, request, { run }), ['adds ARGS:c', 'reads TX:score', 'chain ARGS:c', 'always -'])
  t.is(run.tx.get('score'), '2')
  t.is(run.tx.get('done'), 'yes')
})

test('several matches: asked after every transform that changes the value', t => {
  const run = newRun()
  const count = (state: Run): void => void state.tx.set('n', `${state.tx.get('n') ?? ''}i`)
  const both = ask(has('evil'), { transforms: [lower, undot], multiMatch: true, effects: [count] })
  t.is(fired([rule('r', whole(both))], one('evil .'), { run }).length, 1)
  t.is(run.tx.get('n'), 'ii')
  const early = ask(has('e.vil'), { transforms: [undot], multiMatch: true })
  t.is(fired([rule('r', whole(early))], one('e.vil')).length, 1)
  t.is(fired([rule('r', whole({ ...early, multiMatch: false }))], one('e.vil')).length, 0)
})

test('a rule skips to its marker within its phase, and control rules take out rules and targets', t => {
  const always: Expression = { kind: 'always', effects: [] }
  const rules = [
    rule('skips', always, { skipTo: 'END' }),
    rule('skipped', always),
    rule('body', always, { phase: 'body' }),
    { marker: 'END' },
    rule('after', always),
    rule('back', always, { skipTo: 'END' }),
    rule('last', always, { skipTo: 'NOWHERE' }),
    rule('never', always),
  ]
  t.deepEqual(fired(rules, one('x')), ['skips -', 'after -', 'back -', 'last -'])
  t.deepEqual(fired(rules, one('x'), { phase: 'body' }), ['body -'])
  const controlled = [
    rule('control', {
      kind: 'always',
      effects: [
        ({ removedRules, removedTargets }) => {
          removedRules.add('gone')
          removedTargets.set('narrow', [{ collection: 'ARGS', only: name => name === 'a' }])
        },
      ],
    }),
    rule('gone', whole(ask(has('evil')))),
    rule('narrow', whole(ask(has('evil')))),
    rule('kept', whole(ask(has('evil')))),
  ]
  t.deepEqual(fired(controlled, one('evil')), ['control -', 'kept ARGS:a'])
  t.deepEqual(fired(controlled, one('evil', 'b')), ['control -', 'narrow ARGS:b', 'kept ARGS:b'])
})

test('beyond the work budget nothing is claimed and the run says so', t => {
  const rules = [
    rule('first', whole(ask(has('/', false), { on: path }))),
    rule('long', whole(ask(has('absent', false)))),
    rule('not', { kind: 'not', part: whole(ask(has('absent', false))) }),
  ]
  t.deepEqual(fired(rules, one('x'.repeat(1000)), { maxWork: 500 }), ['first PATH', 'over-budget'])
  const run = newRun()
  t.deepEqual(fired(rules, one('x'.repeat(1000)), { run }), ['first PATH', 'not -'])
  t.true(run.work >= 2000 && run.work < 4000, String(run.work))
})

test('a later phase reads again what was not complete, and counters tell what rules cost', t => {
  const engine = new Engine([
    rule('head', whole(ask(has('evil')))),
    rule('body', whole(ask(has('evil'))), { phase: 'body' }),
  ])
  const pass = engine.begin(inspected('/'), newRun())
  const ids: string[] = []
  const note = ({ rule: { id } }: { rule: Rule }): boolean => ids.push(id) === 0
  t.is(engine.run('head', pass, note), 'done')
  pass.advance(one('evil'))
  t.is(engine.run('body', pass, note), 'done')
  t.deepEqual(ids, ['body'])
  const [first, second] = engine.counters()
  // The scan of an empty head rules it out.
  t.deepEqual({ ...first, work: 0 }, { id: 'head', asked: 0, hits: 0, work: 0 })
  t.deepEqual({ ...second, work: 0 }, { id: 'body', asked: 1, hits: 1, work: 0 })
  t.true((second?.work ?? 0) > 0)
})

test('the prefilter changes no hit', t => {
  const texts = ['ab', 'ba', 'aa', 'c', 'abc', 'A.b', '.']
  const operators = texts.flatMap(text => [has(text), has(text, false), equals(text)])
  const chains = [[], [lower], [undot], [lower, undot], [undot, lower]]
  const testOf = record({
    operator: constantFrom(...operators),
    transforms: constantFrom(...chains),
    negated: boolean(),
    multiMatch: boolean(),
    except: boolean(),
  }).map(({ except, ...parts }) =>
    whole(
      ask(parts.operator, {
        ...parts,
        targets: [args, path].map(collection => ({
          collection,
          only: null,
          except: except ? [(name: string) => name === 'a'] : [],
          count: false,
        })),
      }),
    ),
  )
  const value = array(constantFrom('a', 'b', 'A', 'c', '.'), { maxLength: 6 }).map(parts => parts.join(''))
  const pair = record({ name: constantFrom('a', 'b'), value })
  let hits = 0
  assert(
    property(
      array(
        record({
          kind: constantFrom('all', 'any', 'not'),
          parts: array(testOf, { minLength: 1, maxLength: 3 }),
        }),
        {
          minLength: 1,
          maxLength: 6,
        },
      ),
      array(pair, { maxLength: 4 }),
      integer({ min: 1, max: 3 }),
      nat(2),
      (expressions, query, depth, shift) => {
        const rules = expressions.map(({ kind, parts }, index) => {
          const inner: Expression = { kind: kind === 'all' ? 'all' : 'any', parts: parts.slice(0, depth) }
          return rule(`r${index + shift}`, kind === 'not' ? { kind, part: inner } : inner)
        })
        const filtered = fired(rules, inspected('/abc', query))
        hits += filtered.length
        t.deepEqual(filtered, fired(rules, inspected('/abc', query), { prefilter: false }))
      },
    ),
    { numRuns: 1_000, seed: 11 },
  )
  t.true(hits > 500, `${hits} hits`)
})

test('values carry how they were read only when asked', t => {
  let asked = 0
  const lazy: FieldValue = {
    field: 'x',
    name: '',
    value: 'evil',
    secret: false,
    steps: () => [`asked ${++asked}`],
  }
  const collection: Collection = { id: 'x', phase: 'head', volatile: false, read: () => [lazy] }
  const engine = new Engine([rule('r', whole(ask(has('evil'), { on: collection })))])
  const pass = engine.begin(inspected('/'), newRun())
  let steps: readonly string[] = []
  engine.run('head', pass, ({ found }) => {
    t.is(asked, 0)
    steps = found?.value.steps?.() ?? []
    return false
  })
  t.deepEqual(steps, ['asked 1'])
})
