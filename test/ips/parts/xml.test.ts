// XML without a DTD: texts, attributes and names as parsers see them; bombs are read, never run.
import test from 'ava'
import * as fc from 'fast-check'
import { INSPECTION_LIMITS } from '../../../src/ips/parts/limits.ts'
import { readXml } from '../../../src/ips/parts/xml.ts'
import { pairs, read, utf8 } from './support.ts'

const TYPE = 'text/xml; charset=utf-8'

test('texts, attributes and element names by local name, references and CDATA resolved', t => {
  const body = read(
    TYPE,
    '<?xml version="1.0"?><s:Env xmlns:s="urn:x" s:a="1 &lt; 2"><s:Body>\n<Cmd>a&amp;&#x26;&#38;&foo;<![CDATA[<b>&lt;]]></Cmd><e/></s:Body></s:Env>',
  )
  t.is(body.kind, 'xml')
  t.deepEqual(pairs(body.xmlTexts), [['Cmd', 'a&&&&foo;<b>&lt;']])
  t.deepEqual(pairs(body.xmlAttributes), [
    ['s', 'urn:x'],
    ['a', '1 < 2'],
  ])
  t.deepEqual(body.xmlElements, ['Env', 'Body', 'Cmd', 'e'])
  t.deepEqual(body.problems, [])
  t.is(body.xmlContent, '\na&&&&foo;<b>&lt;')
  t.is(body.xmlDoctype, null)
})

test('attack: a comment, an instruction or an element within a word does not part it', t => {
  for (const text of [
    'un<!-- x -->ion',
    'un<?x y?>ion',
    'un<![CDATA[ion]]>',
    'u<b/>nion',
    '&#117;nion',
    '&#x75;nion',
  ])
    t.deepEqual(pairs(read(TYPE, `<a>${text}</a>`).xmlTexts), [['a', 'union']], text)
})

test('a DTD is text, wherever it stands', t => {
  const dtd = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd"> <!-- ]> --> <!ENTITY y "]>">]>'
  const { xmlDoctype, xmlTexts, problems } = read(TYPE, `${dtd}<r>&x;</r>`)
  t.is(xmlDoctype, dtd)
  t.deepEqual(pairs(xmlTexts), [['r', '&x;']])
  t.deepEqual(problems, ['xml-doctype'])
  for (const body of [
    Buffer.from(`${dtd}<r/>`, 'utf16le'),
    Buffer.from(`\ufeff${dtd}<r/>`, 'utf16le').swap16(),
    Buffer.from(`<?xml version="1.0" encoding="UTF-7"?>${dtd.replaceAll('<', '+ADw-')}`),
  ])
    t.true(read(TYPE, body).xmlDoctype?.includes('file:///etc/passwd'))
  t.true(
    read(
      'multipart/form-data; boundary=b',
      `--b\r\nContent-Type: text/xml\r\n\r\n${dtd}<r/>\r\n--b--`,
    ).xmlDoctype?.includes('ENTITY'),
  )
})

test('what is no XML is broken, and still seen', t => {
  for (const body of [
    '<a>evil</b>',
    '<a>evil',
    '<a x=evil>1</a>',
    '<a x="1" x="evil"/>',
    '<a>1 < evil</a>',
    'evil<a/>',
    '<a/>evil',
    '<a/><b>evil</b>',
    '<a><![CDATA[evil',
    '<a><!-- evil',
    '<a x="evil',
    '<a evil>x</a>',
  ]) {
    const { xmlTexts, xmlAttributes, problems } = read(TYPE, body)
    t.deepEqual(problems, ['xml-broken'], body)
    t.true(
      [...xmlTexts, ...xmlAttributes].some(({ name, value }) => `${name} ${value}`.includes('evil')),
      body,
    )
  }
  t.deepEqual(read(TYPE, '<a><b>evil', { complete: false }).problems, ['cut-off'])
})

const NAME = fc.constantFrom('a', 'b', 'ns:c', 'd-e')
const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

test('what an encoder writes is read back', t => {
  const leaf = fc.record({
    name: NAME,
    attribute: fc.string({ unit: 'binary' }),
    text: fc.string({ unit: 'binary' }),
  })
  fc.assert(
    fc.property(fc.array(leaf, { maxLength: 6 }), leaves => {
      const inner = leaves.map(
        ({ name, attribute, text }) => `<${name} v="${escapeXml(attribute)}">${escapeXml(text)}</${name}>`,
      )
      const { texts, attributes, problems } = readXml(
        utf8(`<root>${inner.join('')}</root>`),
        true,
        INSPECTION_LIMITS,
      )
      t.deepEqual([...problems], [])
      t.deepEqual(
        attributes.map(({ value }) => value),
        leaves.map(({ attribute }) => utf8(attribute)),
      )
      t.deepEqual(
        pairs(texts),
        leaves
          .filter(({ text }) => /\S/.test(utf8(text)))
          .map(({ name, text }) => [name.split(':').at(-1) ?? '', utf8(text)]),
      )
    }),
    { numRuns: 200 },
  )
})

test('bomb: a billion laughs, depth, attributes and end tags without number', t => {
  const entities = Array.from({ length: 10 }, (_, n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`).join(
    '',
  )
  const laughs = read(TYPE, `<!DOCTYPE l [<!ENTITY l0 "lol">${entities}]><l>&l10;</l>`)
  t.deepEqual(pairs(laughs.xmlTexts), [['l', '&l10;']])
  t.true((laughs.xmlDoctype?.length ?? 0) < 2_000)
  const deep = read(TYPE, `${'<a>'.repeat(15_000)}evil`)
  t.true(deep.problems.includes('xml-depth'))
  t.true(deep.xmlTexts.some(({ value }) => value.includes('evil')))
  const names = Array.from({ length: 50_000 }, (_, n) => `a${n}="1"`).join(' ')
  const wide = read(TYPE, `<a ${names}>evil</a>`)
  t.true(wide.problems.includes('xml-count'))
  t.true(wide.xmlAttributes.length <= INSPECTION_LIMITS.xmlNodes)
  t.true(wide.xmlTexts.at(-1)?.value.includes('evil'))
  const nodes = read(TYPE, `<a>${'<b/>'.repeat(50_000)}evil</a>`)
  t.true(nodes.problems.includes('xml-count'))
  t.true(nodes.xmlTexts.some(({ value }) => value.includes('evil')))
  const long = read(TYPE, `<!DOCTYPE ${'x'.repeat(100_000)}><a/>`)
  t.true((long.xmlDoctype?.length ?? 0) <= INSPECTION_LIMITS.xmlDoctypeBytes)
})
