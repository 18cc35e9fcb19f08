// P6, P7: the address string is refused unless every character is right; what templates print is always right.
import test from 'ava'
import * as fc from 'fast-check'
import { checkServerString, formatServerString, type AddressGrammar } from '../../src/deploy/server-string.ts'
import { PRODUCT_TEMPLATES } from '../../src/deploy/templates.ts'

const [automate] = PRODUCT_TEMPLATES
if (automate === undefined) throw new Error('no product')
const PAIR = automate.grammar
const GATE = 'https://gate.example.com'
const GOOD = `${GATE}|https://direct.example.com`
const isGate = (host: string): boolean => host === 'gate.example.com'

test('P6: the string of the field is read: primary first, the old address second', t => {
  const checked = checkServerString(GOOD, PAIR, { isGate })
  t.true(checked.ok)
  if (!checked.ok) return
  t.deepEqual(
    checked.servers.map(({ host }) => host),
    ['gate.example.com', 'direct.example.com'],
  )
  t.deepEqual(checked.warnings, [])
  t.is(formatServerString(checked.servers, PAIR), GOOD)
  const address = checkServerString(`${GATE}|https://203.0.113.9`, PAIR, { isGate })
  t.true(address.ok)
  if (address.ok) t.regex(address.warnings.join(), /203\.0\.113\.9 is an address/)
})

/** What people really paste, the character that is wrong (its index), and a word of the reason. */
const MALFORMED: readonly (readonly [what: string, text: string, at: number, reason: RegExp])[] = [
  ['nothing', '', 0, /empty/],
  ['a space before', ` ${GOOD}`, 0, /space/],
  ['a space after', `${GOOD} `, GOOD.length, /space/],
  ['a space around the bar', `${GATE} |https://direct.example.com`, GATE.length, /space/],
  ['a no-break space', `${GATE}\u00a0|https://direct.example.com`, GATE.length, /space/],
  ['a line end', `${GOOD}\r\n`, GOOD.length, /control character \(U\+000D\)/],
  ['a tab', `${GATE}\t|https://direct.example.com`, GATE.length, /control/],
  ['a null', `${GOOD}\u0000`, GOOD.length, /control/],
  ['a zero-width space', `https://gate.example\u200b.com|https://direct.example.com`, 20, /invisible/],
  ['a right-to-left override', `https://\u202egate.example.com|https://d.example.com`, 8, /invisible/],
  ['half a surrogate pair', `https://gate\ud83d.example.com|https://d.example.com`, 12, /invisible/],
  ['an emoji', `https://gate😀.example.com|https://d.example.com`, 12, /no character of a host name/],
  ['a Cyrillic а', `https://gаte.example.com|https://direct.example.com`, 9, /looks like "a"/],
  ['a full-width bar', `${GATE}｜https://direct.example.com`, GATE.length, /looks like "\|"/],
  ['an ideographic full stop', `https://gate。example.com|https://d.example.com`, 12, /looks like "\."/],
  ['an umlaut', `https://gäte.example.com|https://d.example.com`, 9, /no character/],
  ['typographic quotes', `“${GOOD}”`, 0, /no character/],
  ['quotes', `"${GOOD}"`, 0, /https:\/\/ is missing/],
  ['a path', `${GATE}/LabTech|https://direct.example.com`, GATE.length, /a path/],
  ['a slash at the end', `${GOOD}/`, GOOD.length, /slash at the end/],
  ['a slash in the middle', `${GATE}/|https://direct.example.com`, GATE.length, /slash/],
  ['a port', `${GATE}:443|https://direct.example.com`, GATE.length, /port/],
  ['an empty port', `${GATE}:|https://direct.example.com`, GATE.length, /port/],
  ['a query', `${GATE}?x|https://direct.example.com`, GATE.length, /no part/],
  ['a fragment', `${GATE}#x|https://direct.example.com`, GATE.length, /no part/],
  ['a backslash', `${GATE}\\x|https://direct.example.com`, GATE.length, /backslash/],
  ['a user name', `https://gate.example.com@evil.example|https://d.example.com`, 24, /user name/],
  ['http', `http://gate.example.com|https://direct.example.com`, 0, /read and changed/],
  ['http for the secondary', `${GATE}|http://direct.example.com`, GATE.length + 1, /http:/],
  ['another scheme', `ftp://gate.example.com|https://direct.example.com`, 0, /ftp:/],
  ['a scheme in capitals', `HTTPS://gate.example.com|https://d.example.com`, 0, /capital/],
  ['no scheme', `gate.example.com|https://direct.example.com`, 0, /missing/],
  ['one slash', `https:/gate.example.com|https://direct.example.com`, 0, /missing/],
  ['a scheme twice', `https://https://gate.example.com|https://d.example.com`, 8, /full name/],
  ['capital letters', `https://gate.Example.com|https://direct.example.com`, 13, /capital/],
  ['a dot at the end', `${GATE}.|https://direct.example.com`, GATE.length, /dot after/],
  ['two dots', `https://gate..example.com|https://direct.example.com`, 13, /two dots/],
  ['a dot first', `https://.example.com|https://direct.example.com`, 8, /begins with one/],
  ['a dash first', `https://-gate.example.com|https://direct.example.com`, 8, /dash/],
  ['an underscore', `https://ga_te.example.com|https://direct.example.com`, 10, /"_"/],
  ['a wildcard', `https://*.example.com|https://direct.example.com`, 8, /"\*"/],
  ['a comma', `${GATE},https://direct.example.com`, GATE.length, /","/],
  ['a semicolon', `${GATE};https://direct.example.com`, GATE.length, /";"/],
  ['a single label', `https://gate|https://direct.example.com`, 8, /full name/],
  ['an IPv6 address', `https://[2001:db8::1]|https://direct.example.com`, 8, /IPv6/],
  ['an octal address', `https://010.0.0.1|https://direct.example.com`, 8, /not an IPv4/],
  ['a short address', `https://10.1|https://direct.example.com`, 8, /not an IPv4/],
  ['a number too large', `https://10.0.0.256|https://direct.example.com`, 8, /not an IPv4/],
  ['a name that ends with a number', `https://a.1|https://direct.example.com`, 10, /ends with a number/],
  ['no host', `https://|https://direct.example.com`, 8, /no host/],
  ['a bar first', `|https://direct.example.com`, 0, /empty/],
  ['a bar at the end', `${GATE}|`, GATE.length, /empty/],
  ['two bars', `${GATE}||https://direct.example.com`, GATE.length + 1, /empty/],
  ['one address', GATE, GATE.length, /no secondary/],
  ['three addresses', `${GOOD}|https://x.example.com`, GOOD.length, /3 entries/],
  ['the same twice', `${GATE}|${GATE}`, GATE.length + 9, /twice/],
  ['the wrong order', `https://direct.example.com|${GATE}`, 8, /order/],
  ['another name first', `https://other.example.com|https://d.example.com`, 8, /does not serve/],
  ['a label too long', `https://${'a'.repeat(64)}.example.com|https://d.example.com`, 8, /63/],
  ['a name too long', `https://${'a.'.repeat(130)}com|https://d.example.com`, 8 + 253, /253/],
  ['far too much', 'x'.repeat(10_000_000), 2_048, /longer than/],
]

for (const [what, text, at, reason] of MALFORMED) {
  test(`P7: refused with the place and the reason: ${what}`, t => {
    const checked = checkServerString(text, PAIR, { isGate })
    if (checked.ok) {
      t.fail(JSON.stringify(text))
      return
    }
    t.regex(checked.problem.message, reason)
    t.is(checked.problem.at, at)
    t.true(checked.problem.length >= 1)
    t.not(checked.problem.hint, '')
  })
}

const label = fc.stringMatching(/^[a-z](?:[a-z0-9-]{0,20}[a-z0-9])?$/)
const host = fc.array(label, { minLength: 2, maxLength: 5 }).map(labels => labels.join('.'))
const port = fc.integer({ min: 1, max: 65_535 })
const GRAMMARS = PRODUCT_TEMPLATES.map(entry => entry.grammar)

test('whatever is written from valid hosts is read again, and says the same', t => {
  fc.assert(
    fc.property(fc.constantFrom(...GRAMMARS), host, host, port, (grammar, one, two, number) => {
      fc.pre(one !== two)
      const hosts = [one, two].slice(0, grammar.entries)
      const text = formatServerString(
        hosts.map(name => ({ host: name, port: number })),
        grammar,
      )
      const checked = checkServerString(text, grammar)
      t.true(checked.ok, text)
      if (checked.ok) t.is(formatServerString(checked.servers, grammar), text)
    }),
    { numRuns: 300 },
  )
})

test('every product prints only values that its own check takes', t => {
  fc.assert(
    fc.property(fc.constantFrom(...PRODUCT_TEMPLATES), host, host, (product, gate, direct) => {
      fc.pre(gate !== direct)
      const { settings, files } = product.template({ gate, direct, egress: null })
      t.true(settings.length > 0)
      for (const { value, grammar } of settings) {
        if (grammar !== null) t.true(checkServerString(value, grammar).ok, value)
      }
      for (const { lines } of files) t.true(lines.every(line => !/\p{Cc}/u.test(line)))
    }),
    { numRuns: 200 },
  )
})

const mutation = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('insert', 'remove', 'replace', 'swap', 'repeat'),
  character: fc.oneof(
    fc.constantFrom(
      ' ',
      '|',
      '/',
      ':',
      '.',
      '-',
      '\\',
      '@',
      '?',
      '#',
      'A',
      'а',
      '\u200b',
      '\t',
      '%',
      '*',
      ',',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
})

function mutated(text: string, change: { at: number; kind: string; character: string }): string {
  const at = change.at % (text.length + 1)
  const [before, after] = [text.slice(0, at), text.slice(at)]
  switch (change.kind) {
    case 'insert':
      return before + change.character + after
    case 'remove':
      return before + after.slice(1)
    case 'replace':
      return before + change.character + after.slice(1)
    case 'swap':
      return before + after.slice(1, 2) + after.slice(0, 1) + after.slice(2)
    default:
      return before + after.slice(0, 1) + after
  }
}

test('a changed string is refused, or is another string of exactly the same form', t => {
  const form = /^https:\/\/[a-z0-9.-]+[a-z0-9]\|https:\/\/[a-z0-9.-]+[a-z0-9]$/
  fc.assert(
    fc.property(host, host, fc.array(mutation, { minLength: 1, maxLength: 3 }), (one, two, changes) => {
      fc.pre(one !== two)
      const text = formatServerString(
        [one, two].map(name => ({ host: name, port: null })),
        PAIR,
      )
      const changed = changes.reduce(mutated, text)
      const checked = checkServerString(changed, PAIR)
      if (!checked.ok) {
        const { at, length } = checked.problem
        t.true(at >= 0 && at <= changed.length && length >= 1, changed)
        return
      }
      t.regex(changed, form)
      t.is(formatServerString(checked.servers, PAIR), changed)
    }),
    { numRuns: 1_000 },
  )
})

test('no text whatever makes the check throw or lose its place', t => {
  const text = fc.string({ unit: 'binary', maxLength: 200 })
  fc.assert(
    fc.property(text, fc.constantFrom<AddressGrammar>(...GRAMMARS), (given, grammar) => {
      const checked = checkServerString(given, grammar)
      if (!checked.ok) t.true(checked.problem.at <= given.length)
    }),
    { numRuns: 500 },
  )
})
