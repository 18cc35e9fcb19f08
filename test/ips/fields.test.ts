// Fields of the YAML language beyond the usual ones: raw views, names, Basic credentials, place, messages, ClientHello.
import test from 'ava'
import { compileRules } from '../../src/ips/compile.ts'
import { FIELD_NAMES, readField } from '../../src/ips/fields/field.ts'
import type { RuleHit, RuleScope, RuleSet } from '../../src/ips/rule-set.ts'
import type { HelloFacts } from '../../src/policy/facts.ts'
import { requestFacts } from '../policy/request.ts'
import { readRules } from './read-rules.ts'

function compiled(when: string, more = ''): RuleSet {
  const { ruleSet, problems } = compileRules(
    readRules(`pack: t\nrules:\n  - { id: r, title: t, severity: high, when: ${when}${more} }\n`),
  )
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('\n'))
  return ruleSet
}

const SCOPE: RuleScope = {
  class: 'console',
  listener: 'agents',
  country: 'DE',
  site: null,
  sourceText: '198.51.100.1',
  nowMs: 0,
}

type Request = {
  target?: string
  headers?: Record<string, string>
  type?: string
  body?: string
  webSocket?: boolean
}

/** Field and value of the first hit, `-` for none. */
function seen(when: string, request: Request = {}): string {
  const rules = compiled(when)
  const { target = '/x', headers = {}, type, body } = request
  const facts = requestFacts(body === undefined ? 'GET' : 'POST', target, {
    headers: {
      ...headers,
      ...(body === undefined ? {} : { 'content-length': String(body.length) }),
      ...(type === undefined ? {} : { 'content-type': type }),
    },
    webSocket: request.webSocket ?? false,
  })
  const hits = [...rules.matchHead(facts, SCOPE)]
  if (hits.length === 0 && body !== undefined && rules.wantsBody(facts, SCOPE)) {
    hits.push(...rules.matchBody(facts, SCOPE, Buffer.from(body, 'latin1'), true))
  }
  const [hit] = hits
  return hit === undefined ? '-' : `${hit.field}=${hit.value}`
}

test('raw fields keep case and escapes that the format does not undo', t => {
  const target = '/A%2fB?Q=%2541&q=b'
  t.is(seen('{ in: path.raw, has: "/A%2fB" }', { target }), 'path.raw=/A%2fB')
  t.is(seen('{ in: args.raw, has: "%41" }', { target }), 'args.q.raw=%41')
  t.is(seen('{ in: args.q.raw, equals: "%41" }', { target }), 'args.q.raw=%41')
  t.is(seen('{ in: args.q, equals: a }', { target }), 'args.q=a')
  t.is(seen('{ in: header.x-a.raw, equals: "A%41" }', { headers: { 'x-a': 'A%41' } }), 'header.x-a.raw=A%41')
  t.is(seen('{ in: header.x-a, equals: aa }', { headers: { 'x-a': 'A%41' } }), 'header.x-a=aa')
  t.is(
    seen('{ in: cookies.id.raw, has: "A%41" }', { headers: { cookie: 'ID=A%41' } }),
    'cookies.id.raw=[redacted]',
  )
  t.is(seen('{ in: [path.raw, args.q], has: [ "%2f", B ] }', { target: '/x?q=b' }), 'args.q=b')
})

test('names of arguments, cookies and headers are fields', t => {
  t.is(seen('{ in: args.names, equals: "a[0]" }', { target: '/?A%5B0%5D=1' }), 'args.names=a[0]')
  t.is(seen('{ in: cookies.names, equals: id }', { headers: { cookie: 'ID=1' } }), 'cookies.names=id')
  t.is(seen('{ in: headers.names, equals: x-a }', { headers: { 'X-A': '1' } }), 'headers.names=x-a')
  t.is(seen('{ in: args, has: "-d allow" }', { target: '/?-d+allow_url' }), 'args.-d allow_url=-d allow_url')
})

test('Basic credentials are decoded, the password never shown', t => {
  const headers = { authorization: `Basic ${Buffer.from('Admin:S3cret').toString('base64')}` }
  t.is(seen('{ in: basic.user, equals: admin }', { headers }), 'basic.user=admin')
  t.is(seen('{ in: basic.password, equals: s3cret }', { headers }), 'basic.password=[redacted]')
  t.is(seen('{ in: basic.user, missing: false }', { headers: { authorization: 'Bearer x' } }), '-')
  t.is(seen('{ in: basic.user, missing: false }', { headers: { authorization: 'Basic A' } }), '-')
})

test('listener, country, protocol and size are fields', t => {
  t.is(seen('{ in: listener, equals: agents }'), 'listener=agents')
  t.is(seen('{ in: source.country, equals: DE }'), 'source.country=de')
  t.is(seen('{ in: protocol, equals: websocket }', { webSocket: true }), 'protocol=websocket')
  t.is(seen('{ in: protocol, equals: http }'), 'protocol=http')
  const body = 'x'.repeat(11)
  t.is(seen('{ in: body.size, above: 10 }', { body, type: 'text/plain' }), 'body.size=11')
  t.is(seen('{ in: body.size, above: 11 }', { body, type: 'text/plain' }), '-')
  t.is(seen('{ in: body.size, below: 12 }', { body, type: 'text/plain' }), 'body.size=11')
})

test('every field of the language can be named, and what is not one is refused', t => {
  for (const name of FIELD_NAMES) t.not(readField(name), undefined, name)
  for (const name of [
    'args.q.raw',
    'args.base64.q',
    'header.user-agent',
    'header.x.raw',
    'cookies.a.raw',
    'xml.name',
  ]) {
    t.not(readField(name), undefined, name)
  }
  for (const name of [
    '',
    'arg',
    'args.',
    'args..raw',
    'header.X',
    'xml.a.raw',
    'hello',
    'toString',
    'host.raw',
  ]) {
    t.is(readField(name), undefined, name)
  }
})

test('hits say how the value was decoded', t => {
  const steps = (target: string): readonly string[] | undefined =>
    compiled('{ in: args.q, has: evil }').matchHead(requestFacts('GET', target), SCOPE)[0]?.steps
  t.deepEqual(steps('/?q=evil'), [])
  t.is(steps('/?q=%2565vil')?.length, 1)
})

const hello: HelloFacts = {
  serverName: 'rmm.example.test',
  versions: ['TLSv1.3', 'TLSv1.2'],
  alpn: ['H2', 'http/1.1'],
  ja4: 't13d1516h2_8daaf6152771_02713d6af862',
  cipherCount: 15,
}

test('rules on the ClientHello see its fields, listener and country, and nothing else', t => {
  const fires = (when: string): number => compiled(when).matchHello(hello, SCOPE).length
  t.is(fires('{ in: hello.ja4, equals: t13d1516h2_8daaf6152771_02713d6af862 }'), 1)
  t.is(fires('{ in: hello.alpn, equals: h2 }'), 1)
  t.is(fires('{ in: hello.versions, equals: TLSv1.2 }'), 1)
  t.is(fires('{ in: hello.server-name, has: example }'), 1)
  t.is(fires('{ in: hello.ciphers, below: 15 }'), 0)
  t.is(fires('{ all: [{ in: hello.ciphers, above: 14 }, { in: listener, equals: agents }] }'), 1)
  t.is(fires('{ in: path, has: / }'), 0)
  t.is(compiled('{ in: source.country, equals: de }', ', phase: hello').matchHello(hello, SCOPE).length, 1)
  t.is(compiled('{ in: source.country, equals: de }').matchHello(hello, SCOPE).length, 0)
  t.throws(() => compiled('{ all: [{ in: hello.ja4, has: x }, { in: path, has: / }] }'), {
    message: /ClientHello and at path, which comes later/,
  })
})

function say(rules: RuleSet, target: string, texts: readonly string[], webSocket = true): readonly RuleHit[] {
  const facts = requestFacts('GET', target, { webSocket })
  return texts
    .slice(0, rules.messagesWanted(facts, SCOPE))
    .flatMap((text, index) =>
      rules.matchMessage(facts, SCOPE, { number: index + 1, kind: 'text', text, complete: true }),
    )
}

test('rules on messages see the message and the head of the upgrade, and say how many they want', t => {
  const first = compiled(
    '{ all: [{ in: path, matches: "^/nw$" }, { in: message.number, equals: "1" }, { in: message, has: evil }] }',
  )
  t.is(say(first, '/nw', ['EV%49L', 'evil']).length, 1)
  t.is(say(first, '/nw', ['good', 'evil']).length, 0)
  t.is(say(first, '/other', ['evil']).length, 0)
  t.is(say(first, '/nw', ['evil'], false).length, 0)
  const wanted = (when: string, scope = SCOPE): number =>
    compiled(when).messagesWanted(requestFacts('GET', '/nw', { webSocket: true }), scope)
  t.is(wanted('{ in: message, has: evil }'), 8)
  t.is(wanted('{ all: [{ in: message.number, below: 4 }, { in: message, has: evil }] }'), 3)
  t.is(wanted('{ in: path, has: nw }'), 0)
  // Messages of agents are held only where a rule names the very path.
  t.is(wanted('{ in: message, has: evil }', { ...SCOPE, class: 'relay' }), 0)
  t.is(
    wanted('{ all: [{ in: path, equals: /nw }, { in: message, has: evil }] }', { ...SCOPE, class: 'relay' }),
    8,
  )
  const line = compiled('{ in: message.line1, equals: "open evil" }')
  t.is(say(line, '/nw', ['Open evil\nmore']).length, 1)
  t.is(say(line, '/nw', ['more\nopen evil']).length, 0)
  t.is(say(compiled('{ in: message.kind, equals: text }'), '/nw', ['x'])[0]?.field, 'message.kind')
  t.throws(() => compiled('{ all: [{ in: message, has: x }, { in: body, has: y }] }'), {
    message: /WebSocket has no body/,
  })
})
