// Target normalisation: what is refused, what is normalised, what survives, and the other readings of a path.
import test from 'ava'
import * as fc from 'fast-check'
import { normaliseTarget, pathReadings } from '../../src/ips/target.ts'

const normalised: [target: string, path: string, query?: string][] = [
  ['/', '/'],
  ['/LabTech/Agent.aspx', '/LabTech/Agent.aspx'],
  ['/a?b=/../c', '/a', 'b=/../c'],
  ['/a??', '/a', '?'],
  ['//a///b', '/a/b'],
  ['/a/./b/../c', '/a/c'],
  ['/a/b/..', '/a/'],
  ['/../../a', '/a'],
  ['/%61%2Fb', '/a/b'],
  ['/%2561', '/a'],
  ['/%252561', '/a'],
  ['/a\\b\\..\\c', '/a/c'],
  ['/a%5c..%5cb', '/b'],
  ['/a;x=1/b;y', '/a/b'],
  ['/a/..;/b', '/b'],
  ['/a/%2e%2e%3bx/b', '/b'],
  ['/100%', '/100%'],
  ['/a%zz', '/a%zz'],
  ['/caf%C3%A9/%E4%B8%AD', '/café/中'],
  ['/caf\u00c3\u00a9', '/café'],
  ['/M%FCller.zip', '/Müller.zip'],
  ['/x.aspx/path/info', '/x.aspx/path/info'],
  ['/a%20b', '/a b'],
  [`/${'a%20'.repeat(700)}b`, `/${'a '.repeat(700)}b`],
]

for (const [target, path, query = ''] of normalised) {
  test(`trap 15: ${JSON.stringify(target.slice(0, 40))} is ${path.slice(0, 40)}`, t => {
    t.deepEqual(normaliseTarget(target), { path, pathFolded: path.toLowerCase(), query })
  })
}

const refused = [
  '',
  '*',
  'http://x/y',
  'a',
  '/a#b',
  '/a%00b',
  '/a%2500b',
  '/a%0d%0aX',
  '/a\tb',
  '/a%7f',
  '/a?b\nc',
  '/a%c0%ae',
  '/%c0%af..',
  '/%c1%1c',
  '/%e0%80%ae',
  '/%f0%80%80%ae',
  '/%ed%a0%80',
  '/\u00c0\u00ae',
  '/%u002e',
  '/%25u002e',
  '/%25252561%2525252561',
  `/${'%2e/'.repeat(600)}`,
]

for (const target of refused) {
  test(`trap 15: ${JSON.stringify(target.slice(0, 30))} is refused`, t => {
    t.is(normaliseTarget(target), undefined)
  })
}

const nasty = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '/',
        '//',
        '.',
        '..',
        ';',
        '\\',
        '%2e',
        '%2f',
        '%5c',
        '%25',
        '%252e',
        '%3b',
        '%',
        '(S(a))',
        ':',
      ),
      fc.constantFrom(
        '%c0',
        '%ae',
        '%e9',
        '%C3%A9',
        'a',
        'B',
        '~',
        ' ',
        '=',
        '%00',
        '%u002e',
        '\u00e9',
        '?',
        '%3f',
        '%23',
      ),
    ),
    { maxLength: 24 },
  )
  .map(parts => `/${parts.join('')}`)

test('the normalised path is a fixpoint, never longer, absolute, and free of everything that was resolved', t => {
  fc.assert(
    fc.property(nasty, target => {
      const normal = normaliseTarget(target)
      if (normal === undefined) return
      const { path } = normal
      t.true(path.length <= target.length)
      t.regex(path, /^\//)
      t.notRegex(path, /\/\/|\/\.{1,2}(?:\/|$)|[\\;\p{Cc}]|%[0-9a-f]{2}/iu)
      // Written down again as a client would, it means the same.
      const again = path.replaceAll(/[^/]+/g, segment => encodeURIComponent(segment))
      t.is(normaliseTarget(again)?.path, path)
    }),
    { numRuns: 5000 },
  )
})

test('ordinary paths have one reading', t => {
  for (const target of [
    '/',
    '/LabTech/Agent.aspx?x=..%2f',
    '/a/b-c_d~e/f.g',
    '/.well-known/acme-challenge/x',
    '/caf',
  ]) {
    t.deepEqual(pathReadings(target), [], target)
  }
  t.deepEqual(pathReadings('/%61%20b%7E'), [])
  t.not(pathReadings('/a%20').length, 0)
})

test('the readings hold what each kind of server makes of a path', t => {
  const readings: [target: string, reading: string, server: string][] = [
    ['/console/..%2fagent', '/console/..%2fagent', 'keeps %2f'],
    ['/console/..;/agent', '/console/..;/agent', 'IIS: ..; is a name'],
    ['/console.aspx/..;/agent', '/console.aspx/..;/agent', 'path-info'],
    ['/agent/%2e%2e/console', '/agent/%2e%2e/console', 'does not decode'],
    ['/agent/%252e%252e/console', '/agent/%2e%2e/console', 'decodes once'],
    ['/agent\\..\\console', '/agent\\..\\console', 'keeps backslashes'],
    ['/console//../agent', '/console/agent', 'resolves without merging slashes'],
    ['//agent/console', '/console', 'takes the first part for a host'],
    ['/agent/(S(x))/con(S(x))sole', '/agent/console', 'ASP.NET without cookies'],
    ['/console::$DATA', '/console', 'NTFS'],
    ['/console.', '/console', 'Windows'],
    ['/console%20/x', '/console/x', 'Windows'],
    ['/%EF%BC%8Fx/con%C5%BFole', '/x/console', 'best fit'],
  ]
  for (const [target, reading, server] of readings) {
    t.true(
      pathReadings(target).some(({ path }) => path.toLowerCase() === reading.toLowerCase()),
      `${server}: ${target} -> ${reading}, got ${pathReadings(target)
        .map(({ path }) => path)
        .join(' ')}`,
    )
  }
})
