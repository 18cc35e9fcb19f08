// Modes and exceptions of imported rules: what refuses, what is recorded, and what adds points, by place and by field.
import * as fc from 'fast-check'
import test from 'ava'
import { readField } from '../../../src/ips/fields/field.ts'
import { fieldOfVariable, variablesOf } from '../../../src/ips/seclang/fields.ts'
import { importedRuleSet } from '../../../src/ips/seclang/rule-set.ts'
import { ruleTextAt } from '../../../src/ips/seclang/rule-text.ts'
import type { RuleUse } from '../../../src/ips/seclang/rule-use.ts'
import type { RuleException } from '../../../src/ips/rule-document.ts'
import type { RuleMode, RuleScope, RuleSet } from '../../../src/ips/rule-set.ts'
import { requestFacts } from '../../policy/request.ts'
import { compiled } from './support.ts'

const AT = { file: 'p', line: 1, column: 1 }
const RULES = compiled(`
SecRule ARGS|ARGS_NAMES|REQUEST_HEADERS "@rx evil" "id:10,phase:2,block,log,msg:'evil',tag:'t/a',setvar:'tx.inbound_anomaly_score_pl1=+5'"
SecRule ARGS "@rx odd" "id:20,phase:2,block,log,msg:'odd',setvar:'tx.inbound_anomaly_score_pl1=+3',setvar:'tx.seen_odd=1'"
SecRule TX:seen_odd "@eq 1" "id:30,phase:2,pass,log,msg:'noted'"
SecAction "id:40,phase:2,nolog,pass,setvar:'tx.total=+%{tx.inbound_anomaly_score_pl1}'"
SecRule TX:total "@ge 5" "id:50,phase:2,deny,log,msg:'sum'"`)

const SCOPE: RuleScope = {
  class: 'console',
  listener: 'https',
  country: 'US',
  site: null,
  sourceText: '198.51.100.1',
  nowMs: 1_000,
}

function setOf(mode: RuleMode, changes: Readonly<Record<string, Partial<RuleUse>>>): RuleSet {
  const uses = RULES.rules.map(({ id }): RuleUse => {
    const usual = { id, mode, overrides: [], enforceAfterDays: null, digest: '', except: [] }
    return { ...usual, ...changes['all'], ...changes[id] }
  })
  return importedRuleSet(RULES, { mode, without: [], rules: new Map(uses.map(use => [use.id, use])) })
}

type Where = Partial<RuleScope> & { readonly headers?: Record<string, string> }

/** `number:mode points` of every hit. */
function hits(set: RuleSet, target: string, { headers = {}, ...scope }: Where = {}): string {
  return set
    .matchHead(requestFacts('GET', target, { headers }), { ...SCOPE, ...scope })
    .map(({ ruleId, mode, score, exception }) => {
      const words = exception === null ? mode : 'excepted'
      return `${ruleId.slice(2)}:${words}${score === 0 ? '' : ` ${score}`}`
    })
    .join(', ')
}

const inPlace = (mode: RuleMode, place: Partial<RuleUse['overrides'][number]>): Partial<RuleUse> => ({
  overrides: [{ mode, classes: null, sites: null, listeners: null, ...place }],
})
const except = (exception: Partial<RuleException>): Partial<RuleUse> => ({
  except: [{ reason: 'r', owner: 'o', expiresMs: 2_000, at: AT, ...exception }],
})

test('a rule that is set to detect where others enforce is recorded and adds no points', t => {
  t.is(hits(setOf('enforce', {}), '/?a=evil'), '10:detect 5, 50:enforce 5')
  t.is(hits(setOf('enforce', { 'x-10': { mode: 'detect' } }), '/?a=evil'), '10:detect')
  t.is(
    hits(setOf('enforce', { 'x-10': { mode: 'detect' } }), '/?a=evil&b=odd'),
    '10:detect, 20:detect 3, 30:detect',
  )
  t.is(hits(setOf('enforce', { 'x-10': { mode: 'off' } }), '/?a=evil'), '')
  t.is(hits(setOf('enforce', { 'x-50': { mode: 'detect' } }), '/?a=evil'), '10:detect 5, 50:detect')
})

test('where nothing refuses, all points count, so that it is seen what would', t => {
  t.is(hits(setOf('detect', {}), '/?a=evil'), '10:detect 5, 50:detect')
  const one = { 'x-10': { mode: 'enforce' }, 'x-50': { mode: 'enforce' } } as const
  t.is(hits(setOf('detect', one), '/?a=evil'), '10:detect 5, 50:enforce 5')
  t.is(hits(setOf('detect', one), '/?a=odd&b=odd'), '20:detect, 30:detect')
  t.is(hits(setOf('detect', { 'x-10': { mode: 'enforce' } }), '/?a=evil'), '10:detect 5, 50:detect')
})

test('modes by class, site and listener; a set that is off somewhere wants no body there', t => {
  const byClass = setOf('enforce', { all: inPlace('detect', { classes: ['agent'] }) })
  t.is(hits(byClass, '/?a=evil', { class: 'agent' }), '10:detect 5, 50:detect')
  t.is(hits(byClass, '/?a=evil'), '10:detect 5, 50:enforce 5')
  const bySite = setOf('detect', { all: inPlace('enforce', { sites: ['hq'] }) })
  t.is(hits(bySite, '/?a=evil', { site: 'hq' }), '10:detect 5, 50:enforce 5')
  t.is(hits(bySite, '/?a=evil', { site: 'branch' }), '10:detect 5, 50:detect')
  const byListener = setOf('enforce', { all: inPlace('off', { listeners: ['inner'] }) })
  t.is(hits(byListener, '/?a=evil', { listener: 'inner' }), '')
  t.is(hits(byListener, '/?a=evil'), '10:detect 5, 50:enforce 5')
  const post = requestFacts('POST', '/', { headers: { 'content-length': '3' } })
  t.false(byListener.wantsBody(post, { ...SCOPE, listener: 'inner' }))
  t.true(byListener.wantsBody(post, SCOPE))
})

test('rules that enforce by themselves do so once they are promoted', t => {
  const set = setOf('detect', { all: { enforceAfterDays: 14, digest: 'd' } })
  const promoted = (...ids: string[]): Where => ({ promoted: new Set(ids) })
  t.is(hits(set, '/?a=evil'), '10:detect 5, 50:detect')
  t.is(hits(set, '/?a=evil', promoted('x-50')), '10:detect')
  t.is(hits(set, '/?a=evil', promoted('x-10', 'x-50')), '10:detect 5, 50:enforce 5')
  t.is(set.rules.find(({ id }) => id === 'x-10')?.enforceAfterDays, 14)
})

test('an exception from a rule as a whole: the hit is recorded with its line and adds no points', t => {
  const byPath = setOf('enforce', { 'x-10': except({ paths: ['/cwa/api'] }) })
  t.is(hits(byPath, '/cwa/api?a=evil'), '10:excepted')
  t.is(hits(byPath, '/cwa?a=evil'), '10:detect 5, 50:enforce 5')
  t.is(hits(byPath, '/cwa/api?a=evil', { nowMs: 2_000 }), '10:detect 5, 50:enforce 5')
  const bySource = setOf('enforce', { 'x-10': except({ sources: ['198.51.100.0/24'] }) })
  t.is(hits(bySource, '/?a=evil'), '10:excepted')
  t.is(hits(bySource, '/?a=evil', { sourceText: '203.0.113.1' }), '10:detect 5, 50:enforce 5')
  const bySite = setOf('enforce', { 'x-50': except({ sites: ['hq'] }) })
  t.is(hits(bySite, '/?a=evil', { site: 'hq' }), '10:detect 5, 50:excepted')
  const [exception] = byPath.rules.find(({ id }) => id === 'x-10')?.exceptions ?? []
  t.like(exception, { reason: 'r', expiresMs: 2_000 })
})

test('an exception for fields takes these out of the question; the rest is still judged', t => {
  const set = setOf('enforce', { 'x-10': except({ sites: ['hq'], fields: ['args.q', 'header.x-note'] }) })
  const at = (target: string, headers = {}): string => hits(set, target, { site: 'hq', headers })
  t.is(at('/?q=evil'), '')
  t.is(at('/?Q=evil'), '')
  t.is(at('/?evil=1'), '10:detect 5, 50:enforce 5')
  t.is(at('/?q=evil&r=evil'), '10:detect 5, 50:enforce 5')
  t.is(at('/', { 'X-Note': 'evil' }), '')
  t.is(at('/', { 'X-Other': 'evil' }), '10:detect 5, 50:enforce 5')
  t.is(hits(set, '/?q=evil'), '10:detect 5, 50:enforce 5')
})

test('a hit names every field in which its rule held', t => {
  const [hit] = setOf('enforce', {}).matchHead(requestFacts('GET', '/?q=evil&r=evil&q=evil'), SCOPE)
  t.deepEqual({ field: hit?.field, alsoIn: hit?.alsoIn }, { field: 'args.q', alsoIn: ['args.r'] })
  const [one] = setOf('enforce', {}).matchHead(requestFacts('GET', '/?q=evil&q=evil'), SCOPE)
  t.is(one?.alsoIn, undefined)
})

test('the field that a hit shows is one that an exception can name, and that stands for the variable', t => {
  const variables = [
    ['ARGS', 'q'],
    ['ARGS_GET', 'Filter[name]'],
    ['ARGS_POST', 'json.a.b'],
    ['ARGS_NAMES', 'q'],
    ['REQUEST_HEADERS', 'User-Agent'],
    ['REQUEST_HEADERS_NAMES', 'X'],
    ['REQUEST_COOKIES', 'Sid'],
    ['REQUEST_COOKIES_NAMES', 'Sid'],
    ['REQUEST_FILENAME', ''],
    ['REQUEST_URI', ''],
    ['QUERY_STRING', ''],
    ['REQUEST_METHOD', ''],
    ['REQUEST_BODY', ''],
    ['REQBODY_ERROR', ''],
    ['FILES', 'upload'],
    ['FILES_NAMES', 'upload'],
    ['MULTIPART_PART_HEADERS', 'upload'],
  ] as const
  for (const [collection, member] of variables) {
    const field = fieldOfVariable(member === '' ? collection : `${collection}:${member}`)
    t.truthy(readField(field), `${collection}:${member} is shown as ${field}`)
    t.true(
      variablesOf(field).some(entry => entry.collection === collection && (entry.only?.(member) ?? true)),
      `${field} stands for ${collection}:${member}`,
    )
  }
  t.is(fieldOfVariable('ARGS:json.condition'), 'args.condition')
  t.is(fieldOfVariable('ARGS:json'), 'args')
  t.is(fieldOfVariable('XML:Name'), 'xml.name')
  t.is(fieldOfVariable('XML:@id'), 'xml.attributes')
  t.is(fieldOfVariable('TX:anomaly_score'), 'request')
  t.deepEqual(variablesOf('message'), [])
})

test('an exception for an argument takes out this argument and no other', t => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/),
      fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/),
      (own, other) => {
        fc.pre(own !== other)
        for (const { only } of variablesOf(`args.${own}`)) {
          t.true(only?.(own))
          t.true(only?.(`json.list.${own}`))
          t.false(only?.(other))
          t.false(only?.(`${own}.${other}`))
        }
      },
    ),
  )
})

test('the text of a rule ends with its chain, or with the file', t => {
  const file = `# about\nSecRule ARGS "@rx a" \\\n  "id:1,\\\n  chain"\n\n# between\nSecRule ARGS "@rx b"\nSecRule X "@rx c" "id:2,msg:'unchained'"\nSecAction "id:3,chain"`
  t.is(ruleTextAt(file, 2), file.split('\n').slice(1, 7).join('\n'))
  t.is(ruleTextAt(file, 8), `SecRule X "@rx c" "id:2,msg:'unchained'"`)
  t.is(ruleTextAt(file, 9), 'SecAction "id:3,chain"')
  t.is(ruleTextAt(file, 3), null)
  t.is(ruleTextAt(file, 99), null)
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('SecRule A "x" "chain"', 'SecAction "id:1"', 'x\\', '\\', '#', '"', ' ')),
      fc.integer({ min: -1, max: 20 }),
      (lines, line) => {
        const text = ruleTextAt(lines.join('\n'), line)
        t.true(text === null || lines.join('\n').includes(text))
      },
    ),
  )
})
