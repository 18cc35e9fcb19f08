// The decoding ladder: what reaches the server is what rules see; plain values pass untouched; text is never lost.
import test from 'ava'
import * as fc from 'fast-check'
import { decodeValue } from '../../../src/ips/decode/ladder.ts'
import { utf8 } from '../parts/support.ts'

const text = (sent: string): string => decodeValue(sent).text
const views = (sent: string): string[] => decodeValue(sent).views.map(({ text: view }) => view)

test('percent-decoding in up to three rounds, with the forms that lenient servers take', t => {
  for (const sent of [
    '<',
    '%3C',
    '%3c',
    '%253c',
    '%25253C',
    '%u003c',
    '%U003C',
    '%c0%bc',
    '%e0%80%bc',
    '%f0%80%80%bc',
    '%25u003c',
    '\xc0\xbc',
  ])
    t.is(text(`${sent}script`), '<script', sent)
  t.is(text('%2525253c'), '%3c')
  t.deepEqual(decodeValue('%253C').steps, ['percent x2'])
  t.deepEqual(decodeValue('%3C').steps, ['percent'])
  t.deepEqual(decodeValue('%26lt%3b').steps, ['percent', 'html entity'])
})

test('references of HTML and escapes of JavaScript', t => {
  for (const sent of [
    '&lt;',
    '&LT;',
    '&lt ',
    '&#60;',
    '&#60',
    '&#0000060;',
    '&#x3c;',
    '&#X3C',
    '&amp;lt;',
    '&#37;3c',
    '\\u003c',
    '\\U003c',
    '%26%23x3c;',
    '\\u0026lt;',
  ])
    t.is(text(`${sent}x`).replace(' ', ''), '<x', sent)
  t.is(text('java&Tab;script&colon;a&lpar;1&rpar;'), 'java\tscript:a(1)')
  t.is(text('a=1&lt=3&copy=2&amp=4'), 'a=1&lt=3&copy=2&amp=4')
  t.is(text('&unknown; &#x110000; &#99999999999;'), '&unknown; &#x110000; &#99999999999;')
})

test('what cannot be decoded stays', t => {
  for (const sent of [
    '100% sure',
    '%',
    '%zz',
    '%u12',
    '\\u12',
    'a\\b',
    'c:\\users\\x64\\new',
    '&;',
    '&#;',
    '&#x;',
    '50%2',
  ])
    t.is(text(sent), sent)
  t.is(text('\xe4\xf6'), 'äö')
  t.is(text(utf8('Grüße 😀')), 'grüße 😀')
  t.is(text('%C3%BC%e4'), '\u00c3\u00bc\u00e4'.toLowerCase())
})

test('plus is a blank in forms only', t => {
  t.is(decodeValue('a+b', 'form').text, 'a b')
  t.is(decodeValue('a%2bb', 'form').text, 'a+b')
  t.is(decodeValue('a+b').text, 'a+b')
})

test('views: what a browser, a database or a shell makes of a value, beside the value itself', t => {
  for (const [sent, view] of [
    ['\\x3cscript', '<script'],
    ['\\u{3c}script', '<script'],
    ['\\74script', '<script'],
    ['\\3c script', '<script'],
    ['\uff1cscript\uff1e', '<script>'],
    ['un\0ion', 'union'],
    ['union/**/select', 'union select'],
    ['union/*x*//*y*/select', 'union  select'],
    ['/*!50000union*/ select', ' union  select'],
    ['union--x\nselect', 'union\nselect'],
    ['union%23x%0aselect', 'union\nselect'],
    ["c''at /etc/passwd", 'cat /etc/passwd'],
    ['c\\at /etc/passwd', 'cat /etc/passwd'],
    ['\\ba\\sh -c /x', 'bash -c /x'],
    ['who^ami', 'whoami'],
    ['cat${IFS}/etc/passwd', 'cat /etc/passwd'],
    ['cat$IFS$9/etc/passwd', 'cat /etc/passwd'],
    ['wh$@oami', 'whoami'],
    ['\u2018 or 1=1', "' or 1=1"],
    ['un\\x69on/**/select', 'union select'],
  ] as const) {
    const sentBytes = utf8(sent)
    t.true(views(sentBytes).includes(view), `${sent}: ${views(sentBytes).join(' | ')}`)
    t.false(decodeValue(sentBytes, 'text').views.length > 0)
  }
  // A Windows path keeps its backslashes in every view of its words.
  t.deepEqual(views('c:\\program files\\app/x'), [])
  t.deepEqual(decodeValue('a/**/b').views[0]?.step, 'comment')
})

test('plain values pass at once, in small letters', t => {
  for (const sent of [
    '',
    'plain',
    "O'Brien said: x=1; (a+b) [c] {d}",
    'https://example.com/a?b=c',
    'tab\there',
  ]) {
    const decoded = decodeValue(sent)
    t.is(decoded.text, sent.toLowerCase())
    t.is(decoded.steps.length + decoded.views.length, 0, sent)
  }
})

test('what encoders write is read back, up to three times', t => {
  const source = fc.string({ unit: 'grapheme' }).filter(value => !/[%&\\]/.test(value))
  const entities = (value: string): string =>
    Array.from(value, char => `&#x${(char.codePointAt(0) ?? 0).toString(16)};`).join('')
  fc.assert(
    fc.property(source, value => {
      const wanted = value.toWellFormed().toLowerCase()
      const once = encodeURIComponent(value.toWellFormed())
      for (const sent of [
        utf8(value),
        once,
        encodeURIComponent(once),
        encodeURIComponent(encodeURIComponent(once)),
        entities(value.toWellFormed()),
      ])
        t.is(text(sent), wanted)
    }),
    { numRuns: 200 },
  )
})

test('any bytes: nothing throws, nothing grows, everything is in small letters', t => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary-ascii', maxLength: 8 }),
    fc.constantFrom(
      '%',
      '%25',
      '%u',
      '&#',
      '&lt',
      ';',
      '\\x',
      '\\u',
      '\\',
      '/*',
      '*/',
      '/*!',
      '--',
      '#',
      '\n',
      '\0',
      '\xc0',
      '\xff',
      "''",
      '^',
      '${',
      '$ifs',
      '+',
    ),
  )
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 40 }),
      fc.constantFrom('value', 'form', 'text', 'form-text'),
      (pieces, kind) => {
        const sent = pieces.join('')
        const decoded = decodeValue(sent, kind)
        t.true(decoded.text.length <= sent.length)
        t.true(decoded.views.length <= 3)
        for (const { text: view } of decoded.views) {
          t.true(view.length <= sent.length + 1)
          t.is(view, view.toLowerCase())
        }
      },
    ),
    { numRuns: 2_000 },
  )
})
