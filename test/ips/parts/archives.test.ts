// Zip archives and base64: what is packed into a request is seen by name and by content.
import test from 'ava'
import * as fc from 'fast-check'
import { convincing } from '../../../src/ips/parts/base64.ts'
import { INSPECTION_LIMITS } from '../../../src/ips/parts/limits.ts'
import { readZip } from '../../../src/ips/parts/zip.ts'
import { pairs, read, utf8, zip } from './support.ts'

const FORM = 'application/x-www-form-urlencoded'
const SLIP = zip([{ name: 'ok.txt' }, { name: '../../evil.aspx' }])
const NAMES = ['ok.txt', '../../evil.aspx']

test('entries of archives, wherever they are', t => {
  const base64 = SLIP.toString('base64')
  t.deepEqual(read('application/zip', SLIP).archiveEntries, NAMES)
  t.deepEqual(read(null, SLIP).archiveEntries, NAMES)
  t.deepEqual(read('application/json', `["${base64}"]`).archiveEntries, NAMES)
  t.deepEqual(read('application/json', `["${base64.replaceAll('/', '\\/')}"]`).archiveEntries, NAMES)
  t.deepEqual(read(FORM, `a=${encodeURIComponent(base64)}`).archiveEntries, NAMES)
  t.deepEqual(read(FORM, `a=${base64}`).archiveEntries, NAMES)
  t.deepEqual(
    read('text/xml', `<a><z>${base64.replaceAll(/(.{76})/g, '$1\r\n')}</z></a>`).archiveEntries,
    NAMES,
  )
  t.deepEqual(read('application/json', `{"u":"data:application/zip;base64,${base64}"}`).archiveEntries, NAMES)
  const file = `--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n${SLIP.toString('latin1')}\r\n--b--`
  t.deepEqual(read('multipart/form-data; boundary=b', file).archiveEntries, NAMES)
  t.deepEqual(read('application/zip', SLIP).problems, [])
  const twice = Buffer.from(base64).toString('base64')
  t.deepEqual(read('application/json', `["${twice}"]`).archiveEntries, NAMES)
})

test('attack: names that the directory and the headers of an archive give otherwise', t => {
  const entries = (bytes: Buffer): readonly string[] =>
    readZip(bytes.toString('latin1'), true, INSPECTION_LIMITS).entries
  const problems = (bytes: Buffer): string[] => [
    ...readZip(bytes.toString('latin1'), true, INSPECTION_LIMITS).problems,
  ]
  const mismatch = zip([{ name: 'ok.txt', local: '../evil' }])
  t.deepEqual(entries(mismatch), ['ok.txt', '../evil'])
  t.deepEqual(problems(mismatch), ['zip-broken'])
  const unicode = Buffer.concat([Buffer.from([0x75, 0x70, 12, 0, 1, 0, 0, 0, 0]), Buffer.from('../evil')])
  t.deepEqual(entries(zip([{ name: 'ok.txt', extra: unicode }])), ['ok.txt', '../evil'])
  t.deepEqual(entries(zip([{ name: 'a' }], 'MZ some program')), ['a'])
  // Cut off in front of the directory.
  const cut = SLIP.subarray(0, SLIP.indexOf('PK\x01\x02'))
  t.deepEqual(readZip(cut.toString('latin1'), false, INSPECTION_LIMITS), {
    entries: NAMES,
    problems: new Set(),
  })
  t.deepEqual(problems(cut), ['zip-broken'])
  const inner = zip([{ name: '../inner' }])
  const outer = zip([{ name: 'a.bin', content: inner.toString('latin1') }])
  t.deepEqual(entries(outer).toSorted(), ['../inner', 'a.bin'])
  t.deepEqual(problems(outer), ['zip-nested'])
  t.deepEqual(problems(zip([{ name: 'a.zip' }])), ['zip-nested'])
})

test('bomb: archives that unpack to gigabytes, share their data, or have entries without number', t => {
  const problems = (bytes: Buffer): ReadonlySet<string> =>
    readZip(bytes.toString('latin1'), true, INSPECTION_LIMITS).problems
  t.true(problems(zip([{ name: 'a', unpacked: 4_000_000_000 }])).has('zip-ratio'))
  const sizes = Buffer.alloc(12)
  sizes.writeUInt16LE(1, 0)
  sizes.writeUInt16LE(8, 2)
  sizes.writeBigUInt64LE(1n << 40n, 4)
  t.true(problems(zip([{ name: 'a', unpacked: 0xffffffff, extra: sizes }])).has('zip-ratio'))
  t.true(problems(zip([{ name: 'a' }, { name: 'b', offset: 0 }])).has('zip-ratio'))
  const many = zip(Array.from({ length: 6_000 }, (_, n) => ({ name: `f${n}` })))
  const { entries, problems: counted } = readZip(many.toString('latin1'), true, INSPECTION_LIMITS)
  t.true(counted.has('zip-count'))
  t.true(entries.length <= 2 * INSPECTION_LIMITS.zipEntries)
  t.deepEqual([...problems(zip([{ name: 'a', unpacked: 900_000 }]))], [])
})

test('zip readers take any bytes', t => {
  const signature = fc.constantFrom('PK\x03\x04', 'PK\x01\x02', 'PK\x05\x06', '\xff\xff', '\0\0')
  fc.assert(
    fc.property(fc.array(fc.oneof(signature, fc.string({ unit: 'binary-ascii', maxLength: 30 }))), pieces => {
      const bytes = pieces.join('')
      const { entries } = readZip(bytes, true, INSPECTION_LIMITS)
      t.true(entries.reduce((sum, { length }) => sum + length, 0) <= 3 * bytes.length)
    }),
    { numRuns: 500 },
  )
})

test('base64 is found where it is declared or evident, by the name of its value', t => {
  const script = '<script>alert(1)</script>'
  const packed = Buffer.from(script).toString('base64')
  const found = (type: string, body: string): [string, string][] => pairs(read(type, body).base64)
  t.deepEqual(found(FORM, `x=1&p=${packed}`), [['p', script]])
  t.deepEqual(found('application/json', `{"a":{"p":"${packed}"}}`), [['a.p', script]])
  t.deepEqual(found('application/json', `{"p":"run ${packed} now"}`), [['p', script]])
  t.deepEqual(found('text/xml', `<a><p v="${packed}"/></a>`), [['v', script]])
  t.deepEqual(found('text/plain', packed), [['', script]])
  t.deepEqual(found('text/xml', '<a xmlns:xsi="x"><p xsi:type="xsd:base64Binary">aGk=</p></a>'), [
    ['p', 'hi'],
  ])
  const wide = Buffer.from('IEX (New-Object Net.WebClient)', 'utf16le').toString('base64')
  t.deepEqual(found('application/json', `{"c":"powershell -enc ${wide}"}`), [
    ['c', 'IEX (New-Object Net.WebClient)'],
  ])
  const twice = Buffer.from(packed).toString('base64')
  t.deepEqual(found(FORM, `p=${twice}`), [
    ['p', packed],
    ['p', script],
  ])
  for (const variant of [
    packed.replace(/=+$/, ''),
    packed.replaceAll('+', '-').replaceAll('/', '_'),
    packed.replaceAll(/(.{8})/g, '$1%0a'),
    ` ${packed} `,
  ])
    t.true(
      found(FORM, `p=${variant}`).some(([, value]) => value === script),
      variant,
    )
  const java = Buffer.from('\xac\xed\0\x05sr\0\x11java.util.HashMap', 'latin1').toString('base64')
  t.is(found(FORM, `p=${encodeURIComponent(java)}`).length, 1)
})

test('what only looks like base64 is left alone', t => {
  const words = [
    'internationalisation',
    'deadbeefdeadbeefdeadbeefdeadbeef',
    '4f9c1e2a-77b0-4a55-9d3e-0c1f2a3b4c5d',
    '/usr/local/share/applications',
    'S-1-5-21-1004336348-1177238915',
    'ThisIsAnotherClassName',
    '1234567890123456789',
  ]
  for (const word of words) t.deepEqual(read('application/json', JSON.stringify({ word })).base64, [], word)
  t.false(convincing('\x8a\x9b\x0c\xd1\xe2\xf3\x04\x15\x26\x17'))
})

test('what an encoder writes is found again', t => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme-ascii', minLength: 14, maxLength: 60 }),
      fc.boolean(),
      (text, url) => {
        const packed = Buffer.from(text).toString(url ? 'base64url' : 'base64')
        const found = read('application/json', JSON.stringify({ p: packed })).base64
        t.true(
          found.some(({ value }) => value === utf8(text)),
          packed,
        )
      },
    ),
    { numRuns: 200 },
  )
})

test('attack: base64 hidden behind a data URL, or behind more values than are decoded', t => {
  const evil = '<script>alert(1)</script>'
  const packed = Buffer.from(evil).toString('base64')
  const behind = read('application/json', `{"p":"data:x;base64,QUFBQUFB ${packed.replaceAll('=', '')}"}`)
  t.true(behind.base64.some(({ value }) => value.includes(evil)))
  const many = Array.from({ length: 12_000 }, (_, n) => Buffer.from(`value number ${n}`).toString('base64'))
  const { problems, base64 } = read('text/plain', [...many, packed].join(','))
  t.deepEqual(problems, ['base64-count'])
  t.is(base64.length, INSPECTION_LIMITS.base64Values)
})
