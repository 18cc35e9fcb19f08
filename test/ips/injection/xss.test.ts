// Script in values: what a browser would run, what it would not, and what no disguise may change.
import test from 'ava'
import * as fc from 'fast-check'
import { detectXss } from '../../../src/ips/injection/xss.ts'

const ATTACKS: readonly string[] = [
  '<script>alert(1)</script>',
  '<ScRiPt/src=//x>',
  '<script type="module">go()</script>',
  '<page:script src="//host.example/a.js" />',
  '<svg/onload=go(7)>',
  '<img src=x onerror=alert(1)>',
  "<img src='a>b' onerror=alert(1)>",
  '<img src="x onerror=alert(1)>',
  '<device onsomedaylater=go()>',
  '<s\0cript>',
  '<a href="java\tscript:alert(1)">',
  '<a href=" &#106;avascript&colon;alert(1)">',
  '<form action=javascript:alert(1)>',
  '<iframe srcdoc=x>',
  '<p style="width:expression(alert(1))">',
  '<!doctype html>',
  '<?xml-stylesheet href="x"?>',
  '<!--[if gte IE 4]><p>x<![endif]-->',
  '<!-- --!><script>x',
  '<!-- a --><img/onerror=x>',
  '"onmouseenter=\'go(7)\'"',
  '" onfocus=alert(1) autofocus x="',
  "' style='x:expression(alert(1))",
  '` href=javascript:x',
  'x onclick=alert(1)',
  '</textarea><script>',
  `<a ${'x '.repeat(3_000)}onload=alert(1)>`,
]

const HARMLESS: readonly string[] = [
  '',
  'Online',
  'a < b and c > d',
  'x<3',
  '1 <2> 3',
  '<computer><name>PC-1</name><ip>10.0.0.1</ip></computer>',
  '<a href="https://example.com/x?y=1">docs</a>',
  '<img src="data:image/png;base64,iVBORw0KGgo=">',
  '<b class="on">x</b>',
  '<!-- a note -->',
  'onboarding=yes',
  'Based on= nothing',
  '"on sale" style = modern',
  'one="1" two="2"',
  "it's on: style=bold",
  'javascript: how to learn it',
  'action=save&src=menu',
  '{"src":"https://example.com/a.js","style":"dark"}',
  'if (a<b && c>d) { on = 1 }',
  'Get-Process | Where-Object { $_.Name -eq "x" }',
]

for (const value of ATTACKS) {
  test(`runs: ${JSON.stringify(value.slice(0, 80))}`, t => {
    t.true(detectXss(value))
  })
}

for (const value of HARMLESS) {
  test(`runs nothing: ${JSON.stringify(value)}`, t => {
    t.false(detectXss(value))
  })
}

test('text around a script, its case, and blanks or NULs in it change nothing', t => {
  const text = fc.string({ unit: fc.constantFrom(...'abc 019.,:;()-_=@\n'.split('')), maxLength: 40 })
  const gap = fc.constantFrom(' ', '/', '\n', '\t', '\f', ' / ')
  fc.assert(
    fc.property(text, text, gap, fc.boolean(), (before, after, space, upper) => {
      const attack = `<img${space}src=x${space === '/' ? ' ' : space}onerror=alert(1)>`
      return detectXss(before + (upper ? attack.toUpperCase() : attack) + after)
    }),
    { seed: 3, numRuns: 2_000 },
  )
  t.pass()
})

test('a value without < and without = is never script', t => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), text => !detectXss(text.replaceAll(/[<=]/g, ''))),
    { seed: 4, numRuns: 2_000 },
  )
  t.pass()
})

test('64 KB of anything comes to an end', t => {
  for (const unit of [
    '<',
    '<a',
    '<a ',
    '<!--',
    '<a b=',
    "<a b='",
    '</',
    'on',
    'onx=',
    ' on a=',
    '&#',
    '" onx=a ',
    '<?',
  ]) {
    const text = unit.repeat(Math.ceil(65_536 / unit.length))
    t.is(typeof detectXss(text), 'boolean')
    t.is(typeof detectXss(`<a href='${text}`), 'boolean')
  }
})
