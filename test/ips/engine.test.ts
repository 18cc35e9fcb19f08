// The rule engine: decoding, modes, exceptions, when bodies are held, and what hits may show.
import test from 'ava'
import { compileRules } from '../../src/ips/compile.ts'
import type { RuleHit, RuleScope, RuleSet } from '../../src/ips/rule-set.ts'
import { runRuleTests } from '../../src/ips/rule-tests.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import { requestFacts } from '../policy/request.ts'
import { readRules, shippedRules } from './read-rules.ts'

function compiled(rules: string): RuleSet {
  const { ruleSet, problems } = compileRules(readRules(`pack: test\nrules:\n${rules}`))
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('\n'))
  return ruleSet
}

const rule = (when: string, more = ''): string => `
  - id: r
    title: a rule
    severity: high
    when: ${when}
    ${more}
`

function scope(parts: Partial<RuleScope> = {}): RuleScope {
  return {
    class: 'other',
    listener: 'https',
    country: 'US',
    site: null,
    sourceText: '198.51.100.1',
    nowMs: 0,
    ...parts,
  }
}

function head(
  rules: RuleSet,
  target: string,
  parts: { headers?: Record<string, string>; scope?: Partial<RuleScope>; method?: string } = {},
): readonly RuleHit[] {
  const facts = requestFacts(parts.method ?? 'GET', target, { headers: parts.headers ?? {} })
  return rules.matchHead(facts, scope(parts.scope))
}

function post(target: string, type: string): ReturnType<typeof requestFacts> {
  return requestFacts('POST', target, { headers: { 'content-type': type, 'content-length': '9' } })
}

function body(
  rules: RuleSet,
  type: string,
  text: string | Uint8Array,
  word: TrafficClass = 'other',
): string[] {
  const facts = post('/x', type)
  if (!rules.wantsBody(facts, scope({ class: word }))) return ['not held']
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text
  return rules.matchBody(facts, scope({ class: word }), bytes, true).map(({ field }) => field)
}

test('values are decoded up to three rounds, lower-cased, and compared in the field that the rule names', t => {
  const args = compiled(rule(`{ in: args.q, has: "<script" }`))
  for (const value of [
    '<ScRipt',
    '%3Cscript',
    '%253cscript',
    '%25253Cscript',
    '%u003cscript',
    '%c0%bcscript',
  ]) {
    t.is(head(args, `/x?a=1&q=${value}`).length, 1, value)
  }
  t.is(head(args, '/x?other=%3cscript').length, 0)
  t.is(head(args, '/x?Q=%3cscript').length, 1)
  t.is(head(compiled(rule(`{ in: args.q, equals: "a b" }`)), '/x?q=A+b').length, 1)
  const raw = compiled(rule(`{ in: query.raw, has: "%2E" }`))
  t.is(head(raw, '/x?q=%2E').length, 1)
  t.is(head(raw, '/x?q=%2e').length, 0)
})

test('headers, cookies, method, host, content type, WebSocket and Origin are fields', t => {
  const fires = (when: string, headers: Record<string, string>): number =>
    head(compiled(rule(when)), '/x', { headers }).length
  t.is(fires('{ in: header.user-agent, has: sqlmap }', { 'user-agent': 'SQLMap/1' }), 1)
  t.is(fires('{ in: headers, has: sqlmap }', { 'x-any': 'sqlmap' }), 1)
  t.is(fires('{ in: cookies.id, equals: "a b" }', { cookie: 'x=1; id=a%20B' }), 1)
  t.is(fires('{ in: method, equals: GET }', {}), 1)
  t.is(fires('{ in: host, equals: rmm.example.test }', {}), 1)
  t.is(fires('{ in: content-type, has: json }', { 'content-type': 'application/JSON' }), 1)
  t.is(fires('{ in: websocket, equals: "no" }', {}), 1)
  t.is(fires('{ in: origin.foreign, missing: true }', { origin: 'https://rmm.example.test' }), 1)
  t.is(fires('{ in: origin.foreign, missing: false }', { origin: 'https://rmm.example.test.evil' }), 1)
  t.is(fires('{ in: origin.foreign, missing: false }', { origin: 'null' }), 1)
  t.is(fires('{ in: header.x-none, missing: true }', {}), 1)
  t.is(fires('{ in: header.x-long, longerThan: 3 }', { 'x-long': 'abcd' }), 1)
  t.is(fires('{ in: header.x-long, longerThan: 3 }', { 'x-long': 'abc' }), 0)
})

test('all, any and not combine; methods and classes limit a rule', t => {
  const when = `{ all: [{ in: path, has: /a }, { any: [{ in: query, has: x }, { in: query, has: y }] }, { not: { in: query, has: z } }] }`
  const rules = compiled(rule(when, 'methods: [GET]\n    classes: [console]'))
  const console = { scope: { class: 'console' as const } }
  t.is(head(rules, '/a?x', console).length, 1)
  t.is(head(rules, '/a?y', console).length, 1)
  t.is(head(rules, '/a?yz', console).length, 0)
  t.is(head(rules, '/b?x', console).length, 0)
  t.is(head(rules, '/a?x').length, 0)
  t.is(head(rules, '/a?x', { ...console, method: 'POST' }).length, 0)
})

test('trap 26: detect records and goes on, enforce ends the judgement, off is never asked', t => {
  const three = (mode: string): RuleSet =>
    compiled(
      ['detect', mode, 'enforce']
        .map(
          (word, index) =>
            `  - { id: r${index}, title: t, severity: low, mode: "${word}", when: { in: path, has: x } }\n`,
        )
        .join(''),
    )
  const ids = (rules: RuleSet): string[] => head(rules, '/x').map(({ ruleId }) => ruleId)
  t.deepEqual(ids(three('enforce')), ['r0', 'r1'])
  t.deepEqual(ids(three('detect')), ['r0', 'r1', 'r2'])
  t.deepEqual(ids(three('off')), ['r0', 'r2'])
  t.is(three('off').rules.length, 3)
})

const exception = (parts: string): string =>
  rule(
    '{ in: [args.q, args.p], has: evil }',
    `except: [{ ${parts}, reason: b, owner: o, expires: 2026-01-01T00:00:00Z }]`,
  )

test('trap 15: an exception for a path cannot be had through the query, an encoded path or a longer name', t => {
  const rules = compiled(exception('paths: [/cwa/api]'))
  const excepted = (target: string): boolean => head(rules, target)[0]?.exception !== null
  t.true(excepted('/cwa/api/v1?q=evil'))
  t.true(excepted('/CWA/%61pi/v1?q=evil'))
  for (const target of [
    '/x?q=evil&x=/cwa/api',
    '/x/cwa/api?q=evil',
    '/cwa/apix?q=evil',
    '/cwa/api/../../x?q=evil',
    '/cwa/api/..%2f..%2fx?q=evil',
    '/cwa/api/%252e%252e/%252e%252e/x?q=evil',
  ]) {
    t.false(excepted(target), target)
  }
  for (const path of ['cwa', '/', '/*', '/**/x', '/a?b', '/%61', '*', '//x']) {
    const { problems, ruleSet } = compileRules(
      readRules(`pack: t\nrules:\n${exception(`paths: ["${path}"]`)}`),
    )
    t.regex(problems[0]?.message ?? '', /must start with a literal segment/, path)
    t.is(ruleSet.size, 0)
  }
  const everything = compileRules(readRules(`pack: t\nrules:\n${exception('fields: [args.q]')}`))
  t.regex(everything.problems[0]?.message ?? '', /needs paths, sources or sites/)
})

test('an exception holds for its sources, sites, fields and time only', t => {
  const excepted = (parts: string, target: string, scope: Partial<RuleScope> = {}): boolean =>
    head(compiled(exception(parts)), target, { scope })[0]?.exception !== null
  t.true(excepted('sources: [198.51.100.0/24]', '/x?q=evil'))
  t.false(excepted('sources: [198.51.100.0/24]', '/x?q=evil', { sourceText: '203.0.113.1' }))
  t.true(excepted('sites: [hq]', '/x?q=evil', { site: 'hq' }))
  t.false(excepted('sites: [hq]', '/x?q=evil'))
  t.true(excepted('sites: [hq], fields: [args.q]', '/x?q=evil', { site: 'hq' }))
  t.false(excepted('sites: [hq], fields: [args.q]', '/x?q=evil&p=evil', { site: 'hq' }))
  t.true(excepted('sites: [hq], fields: [args]', '/x?q=evil&p=evil', { site: 'hq' }))
  t.true(excepted('sites: [hq]', '/x?q=evil', { site: 'hq', nowMs: Date.parse('2026-01-01') - 1 }))
  t.false(excepted('sites: [hq]', '/x?q=evil', { site: 'hq', nowMs: Date.parse('2026-01-01') }))
  // An excepted enforcing rule does not end the judgement.
  const two = compiled(
    `${exception('sites: [hq]')}  - { id: s, title: t, severity: low, when: { in: path, has: x } }\n`,
  )
  t.deepEqual(
    head(two, '/x?q=evil', { scope: { site: 'hq' } }).map(({ ruleId }) => ruleId),
    ['r', 's'],
  )
})

test('trap 17: bodies of agents are held only where a rule names the very path', t => {
  const generic = compiled(rule('{ in: [args, body], has: evil }'))
  const named = compiled(rule('{ all: [{ in: path, matches: "^/up\\\\.asmx" }, { in: body, has: evil }] }'))
  const wants = (rules: RuleSet, target: string, word: TrafficClass, type = 'text/xml'): boolean =>
    rules.wantsBody(post(target, type), scope({ class: word }))
  for (const word of ['agent', 'transfer', 'update', 'heartbeat', 'relay'] as const) {
    t.false(wants(generic, '/up.asmx', word), word)
    t.true(wants(named, '/up.asmx', word), word)
    t.false(wants(named, '/down.asmx', word), word)
  }
  t.true(wants(generic, '/x', 'console'))
  t.false(wants(generic, '/x', 'console', 'application/octet-stream'))
  t.true(wants(named, '/up.asmx', 'console', 'application/octet-stream'))
  t.false(generic.wantsBody(requestFacts('GET', '/x'), scope()))
  t.false(generic.wantsBody(requestFacts('POST', '/x', { headers: { 'content-length': '0' } }), scope()))
  t.true(
    generic.wantsBody(requestFacts('POST', '/x', { headers: { 'transfer-encoding': 'chunked' } }), scope()),
  )
  // The shipped rules hold none of an Automate agent's own posts.
  const { ruleSet } = compileRules(shippedRules())
  for (const target of ['/LabTech/agent.aspx', '/LabTech/Transfer/x.zip', '/labtech/agent.aspx/x?y']) {
    t.false(wants(ruleSet, target, 'agent'), target)
  }
})

test('bodies are read as form, JSON, multipart, XML and UTF-16, whatever the content type claims for JSON', t => {
  const args = compiled(rule('{ in: args.q, has: "<evil" }'))
  const text = compiled(rule('{ in: body, has: "<evil" }'))
  const form = 'application/x-www-form-urlencoded'
  t.deepEqual(body(args, form, 'a=1&Q=%3Cevil'), ['args.q'])
  t.deepEqual(body(args, 'application/json', '{"a":[{"q":"\\u003cevil"}]}'), ['args.a.q'])
  t.deepEqual(body(args, 'text/plain', ' {"q":"%3cevil"}'), ['args.q'])
  const part = '--b\r\nContent-Disposition: form-data; name="q"\r\n\r\n<evil\r\n--b--'
  t.deepEqual(body(args, 'multipart/form-data; boundary=b', part), ['args.q'])
  t.deepEqual(body(text, 'text/xml', '<a>&lt;EVIL &#60;evil</a>'), ['body'])
  t.deepEqual(body(text, 'text/xml', '<a>&#x3c;evil</a>'), ['body'])
  const utf16 = new Uint8Array(Buffer.from('\ufeff<evil', 'utf16le'))
  t.deepEqual(body(text, 'text/xml', utf16), ['body'])
  const files = compiled(rule('{ in: files.names, has: "../" }'))
  const upload = '--b\r\nContent-Disposition: form-data; name="f"; filename="..%2fx"\r\n\r\nx\r\n--b--'
  t.deepEqual(body(files, 'multipart/form-data; boundary="b"', upload), ['files.names'])
})

test('what cannot be read whole is looked at as text, never let through unseen', t => {
  const args = compiled(rule('{ in: args, has: "<evil" }'))
  t.deepEqual(body(args, 'application/json', '{"a":"<evil", cut'), ['args.a'])
  t.deepEqual(body(args, 'application/json', `${'['.repeat(5000)}"<evil"${']'.repeat(5000)}`), ['request'])
  t.deepEqual(
    body(args, 'application/json', JSON.stringify([...Array.from({ length: 9000 }, () => 0), '<evil'])),
    ['args'],
  )
  t.is(body(args, 'application/x-www-form-urlencoded', `${'a&'.repeat(5000)}q=%3cevil`).length, 1)
  t.deepEqual(body(args, 'multipart/form-data', '<evil'), ['args'])
})

test('a hit of the head is not reported again for the body; a rule about what is missing waits for the body', t => {
  const args = compiled(rule('{ in: args, has: evil }', 'mode: detect'))
  const facts = requestFacts('POST', '/x?a=evil', {
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '5' },
  })
  const bytes = new TextEncoder().encode('b=evil')
  t.is(args.matchHead(facts, scope()).length, 1)
  t.is(args.matchBody(facts, scope(), bytes, true).length, 0)
  const missing = compiled(rule('{ all: [{ in: path, has: /x }, { in: args.pass, missing: true }] }'))
  t.is(missing.matchHead(facts, scope()).length, 0)
  t.is(missing.matchBody(facts, scope(), bytes, true).length, 1)
  t.is(missing.matchBody(facts, scope(), new TextEncoder().encode('pass=x'), true).length, 0)
  t.is(missing.matchHead(requestFacts('GET', '/x'), scope()).length, 1)
})

test('trap 39: hits show no authorization, cookie, token or password', t => {
  const show = (when: string, target: string, headers: Record<string, string> = {}): string =>
    head(compiled(rule(when)), target, { headers })[0]?.value ?? 'no hit'
  const any = (field: string): string => `{ in: ${field}, matches: "hunter2|evil" }`
  t.is(show(any('header.authorization'), '/x', { authorization: 'Bearer hunter2' }), '[redacted]')
  t.is(show(any('headers'), '/x', { 'x-api-key': 'hunter2' }), '[redacted]')
  t.is(show(any('cookies'), '/x', { cookie: 'theme=hunter2' }), '[redacted]')
  t.is(show(any('headers'), '/x', { cookie: 'theme=hunter2' }), '[redacted]')
  for (const name of [
    'password',
    'InstallerToken',
    'ServerPassword',
    'authtoken',
    'pass',
    'clientSecret',
    'api_key',
  ]) {
    t.is(show(any('args'), `/x?${name}=hunter2`), '[redacted]', name)
    t.notRegex(show(any('query'), `/x?a=1&${name}=hunter2&b=evil`), /hunter2/, name)
    t.notRegex(show(any('target.raw'), `/x?${name}=hunter2`), /hunter2/, name)
    t.notRegex(
      show('{ in: query, has: evil }', `/x?${name}=hunter2${'0'.repeat(200)}&b=evil`),
      /hunter2|000/,
      name,
    )
  }
  const xml = compiled(rule('{ in: body, has: evil }'))
  const facts = post('/x', 'text/xml')
  for (const text of ['<Password>hunter2</Password><b>evil</b>', '{"authToken": "hunter2", "x": "evil"}']) {
    const [hit] = xml.matchBody(facts, scope(), new TextEncoder().encode(text), true)
    t.regex(hit?.value ?? '', /evil/)
    t.notRegex(hit?.value ?? '', /hunter2/)
  }
  t.is(show(any('args.q'), `/x?q=${'a'.repeat(500)}evil%0a%1b[31m${'b'.repeat(500)}`).length, 120)
  t.notRegex(show(any('args.q'), '/x?q=evil%0a%1b%E2%80%AE'), /\p{Cc}|\p{Cf}/u)
})

test('unknown fields, several tests in one condition and double ids are problems', t => {
  const problem = (when: string): string =>
    compileRules(readRules(`pack: t\nrules:\n${rule(when)}`)).problems[0]?.message ?? 'none'
  t.regex(problem('{ in: nonsense, has: x }'), /no field nonsense/)
  t.regex(problem('{ in: header.User-Agent, has: x }'), /no field/)
  t.regex(problem('{ in: path, has: x, equals: y }'), /exactly one/)
  t.regex(problem('{ in: path }'), /exactly one/)
  t.regex(problem('{ in: path, has: "" }'), /none of them empty/)
  t.regex(problem('{ in: [], has: x }'), /names no field/)
  const twice = rule('{ in: path, has: x }')
  t.regex(compileRules(readRules(`pack: t\nrules:\n${twice}${twice}`)).problems[0]?.message ?? '', /twice/)
})

test('a rule must carry tests of both kinds, and they must come out as they say', t => {
  const problems = (tests: string): string[] => {
    const documents = readRules(`pack: t\nrules:\n${rule('{ in: path, has: evil }', `tests: ${tests}`)}`)
    return runRuleTests(compileRules(documents).ruleSet, documents).map(({ message }) => message)
  }
  t.deepEqual(problems('{ fires: [GET /evil], quiet: [GET /good] }'), [])
  t.is(problems('{ fires: [], quiet: [] }').length, 2)
  t.regex(problems('{ fires: [GET /good], quiet: [GET /x] }')[0] ?? '', /does not fire on GET \/good/)
  t.regex(problems('{ fires: [GET /evil], quiet: [GET /EVIL] }')[0] ?? '', /r fires on GET \/EVIL/)
  t.regex(problems('{ fires: [GET /evil%00], quiet: [GET /x] }')[0] ?? '', /refuses this request before/)
})

test('the shipped rules leave a day of ordinary RMM requests alone', t => {
  // Probe rules for products that do not stand here cannot hold for all products at once.
  const { ruleSet } = compileRules(shippedRules().filter(rule => rule.notFor.length === 0))
  const requests: [TrafficClass, string, string][] = [
    ['agent', 'GET', '/LabTech/Agent.aspx'],
    ['agent', 'POST', '/labtech/agent.aspx?4711&0&PC-17&10.1.2.3'],
    ['enroll', 'GET', '/LabTech/Deployment.aspx?InstallerToken=0123456789abcdef'],
    ['update', 'GET', '/LabTech/Updates/LabtechUpdate_220.105.zip'],
    ['transfer', 'GET', "/LabTech/Transfer/Scripts/Bob's%20Script%20(1).ps1"],
    ['console', 'POST', '/LabTech/ControlCenter.asmx'],
    ['console', 'GET', '/automate/main.3f2a.js?v=220.105'],
    [
      'api',
      'GET',
      "/cwa/api/v1/Computers?condition=Client.Name%20contains%20'O%27%27Brien'%20and%20(Status%20eq%20'Online'%20or%20Id%20in%20(1,2))&orderBy=Name%20asc&pageSize=100",
    ],
    ['console', 'GET', '/Host#Access/All%20Machines'],
    ['agent', 'GET', '/agent.ashx'],
    ['console', 'GET', '/meshrelay.ashx?browser=1&p=2&nodeid=node//abc%40$&id=x&auth=y%2Bz%3D'],
    ['relay', 'GET', '/natsws'],
    ['other', 'GET', '/.well-known/acme-challenge/AbC-_1'],
  ]
  for (const [word, method, target] of requests) {
    const hits = ruleSet.matchHead(
      requestFacts(method, target.split('#', 1)[0] ?? '', {
        headers: { 'user-agent': 'LabTech Agent', cookie: 'a=b; c="d e"' },
      }),
      scope({ class: word }),
    )
    t.deepEqual(hits, [], `${method} ${target}`)
  }
})
