// Multipart bodies: names and files as every kind of server reads them, boundary tricks, limits.
import test from 'ava'
import * as fc from 'fast-check'
import { INSPECTION_LIMITS } from '../../../src/ips/parts/limits.ts'
import { pairs, read, utf8 } from './support.ts'

const TYPE = 'multipart/form-data; boundary=b'
const field = (disposition: string, value: string, more = ''): string =>
  `--b\r\nContent-Disposition: form-data; ${disposition}\r\n${more}\r\n${value}\r\n`
const whole = (...parts: string[]): string => `${parts.join('')}--b--\r\n`

test('fields and files, with headers, order and case kept', t => {
  const body = whole(
    field('name="A"', '1'),
    field('name="a"', 'x\r\ny'),
    field('name="up"; filename="R.txt"', 'content', 'Content-Type: text/plain\r\nX-Y: z\r\n'),
    field('name="A"', ''),
  )
  const { kind, args, files, partHeaders, problems } = read(TYPE, body)
  t.is(kind, 'multipart')
  t.deepEqual(pairs(args), [
    ['A', '1'],
    ['a', 'x\r\ny'],
    ['A', ''],
  ])
  t.is(files.length, 1)
  t.like(files[0], { field: 'up', fileName: 'R.txt', head: 'content', bytes: 7 })
  t.deepEqual(partHeaders[3], { field: 'up', line: 'Content-Type: text/plain' })
  t.is(partHeaders.length, 6)
  t.deepEqual(problems, [])
  t.deepEqual(read(TYPE, body.replaceAll('\r\n', '\n')).args.length, 3)
})

test('what the form encoder of the platform writes is read back', async t => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ name: fc.string({ minLength: 1 }), value: fc.string(), file: fc.boolean() }), {
        maxLength: 8,
      }),
      async entries => {
        const form = new FormData()
        for (const { name, value, file } of entries) {
          if (file) form.append(name, new Blob([value]), 'up.bin')
          else form.append(name, value)
        }
        const response = new Response(form)
        const type = response.headers.get('content-type') ?? ''
        const { args, files, problems } = read(type, new Uint8Array(await response.arrayBuffer()))
        // The encoder makes lines end in CRLF, and writes quotes and line ends of names as escapes.
        const value = (text: string): string => utf8(text.replaceAll(/\r\n|\r|\n/g, '\r\n'))
        const plain = (name: string): boolean => !/["\\\r\n]|=\?/.test(name)
        if (entries.length > 0) t.deepEqual(problems, [])
        if (!entries.every(({ name }) => plain(name))) return
        t.deepEqual(
          pairs(args),
          entries.filter(({ file }) => !file).map(entry => [utf8(entry.name), value(entry.value)]),
        )
        t.deepEqual(
          files.map(file => [file.field, file.fileName, file.bytes]),
          entries
            .filter(({ file }) => file)
            .map(entry => [utf8(entry.name), 'up.bin', Buffer.byteLength(entry.value)]),
        )
      },
    ),
    { numRuns: 60 },
  )
})

test('attack: a file name written so that only one kind of server reads it', t => {
  const names = (disposition: string): readonly string[] =>
    read(TYPE, whole(field(disposition, 'x'))).files[0]?.names ?? []
  for (const [disposition, name] of [
    ['name="f"; filename="../a.aspx"', '../a.aspx'],
    ['name="f"; filename*=UTF-8\'\'..%2fa.aspx', '../a.aspx'],
    ['name="f"; filename="a.txt"; filename*=UTF-8\'\'..%2Fa.aspx', '../a.aspx'],
    ['name="f"; filename="=?utf-8?B?Li4vYS5hc3B4?="', '../a.aspx'],
    ['name="f"; filename="=?utf-8?Q?=2E=2E/a.aspx?="', '../a.aspx'],
    ['name="f"; filename="=?utf-16le?B?LgAuAC8AYQAuAGEAcwBwAHgA?="', '../a.aspx'],
    ['name="f"; filename="a.\\aspx"', 'a.aspx'],
    ['name="f"; filename="a.txt"; filename="../a.aspx"', '../a.aspx'],
    ['name="f"; filename=../a.aspx', '../a.aspx'],
    ['name="f"; filename=\'../a.aspx\'', '../a.aspx'],
    ['name="f"; filename*0="../a."; filename*1="aspx"', '../a.aspx'],
    ['name="f"; filename*1*=aspx; filename*0*=UTF-8\'\'..%2fa.', '../a.aspx'],
    ['name="f"; filename="C:\\x\\..\\a.aspx"', 'C:\\x\\..\\a.aspx'],
    ['name="f"; filename="a.txt\\"; x=".aspx"', 'a.txt"; x='],
    ['name="f"; filename="../a.aspx', '../a.aspx'],
    ['name="f"; FileName = "../a.aspx"', '../a.aspx'],
    ['name="f";\r\n filename="../a.aspx"', '../a.aspx'],
    ['name="f"; filename="a"b.aspx"', 'a"b.aspx'],
  ] as const)
    t.true(names(disposition).includes(name), `${disposition}: ${names(disposition).join(' | ')}`)
  t.is(names('name="f"; filename="C:\\x\\y.txt"')[0], 'C:\\x\\y.txt')
})

test('attack: boundaries that servers disagree on', t => {
  const seen = (types: string | readonly string[], body: string): boolean => {
    const { args, problems } = read(types, body)
    return (
      args.some(({ name, value }) => name === 'url' && value.includes('evil')) &&
      problems.includes('multipart-broken')
    )
  }
  const evil = field('name="url"', 'evil')
  for (const [types, body] of [
    ['multipart/form-data; boundary=a; boundary=b', whole(evil)],
    ['multipart/form-data; boundary=b, boundary=a', whole(evil)],
    ['multipart/form-data', whole(evil)],
    [['multipart/form-data; boundary=a', TYPE], whole(evil)],
    [TYPE, evil],
    [TYPE, `${whole(field('name="x"', '1'))}${whole(evil)}`],
    [TYPE, whole(field('name="x"', `1--b\r\nContent-Disposition: form-data; name="url"\r\n\r\nevil`))],
    [
      TYPE,
      whole(`--bX\r\nContent-Disposition: form-data; name="url"\r\n\r\nevil\r\n`, field('name="x"', '1')),
    ],
  ] as const)
    t.true(seen(types, body), `${String(types)} ${body}`)
  // What stands in front, between and behind is seen as well.
  const around = read(TYPE, `front\r\n${whole(field('name="x"', '1'))}behind`)
  t.deepEqual(
    around.args.map(({ value }) => value.trim()),
    ['front', '1', 'behind'],
  )
  t.false(read(TYPE, whole(field('name="x"', '1')), { complete: true }).problems.includes('multipart-broken'))
  t.deepEqual(read(TYPE, field('name="x"', '1'), { complete: false }).problems, ['cut-off'])
})

test('parts in base64 and quoted-printable, nested parts, and parts that are documents', t => {
  const coded = read(
    TYPE,
    whole(
      field('name="a"', 'PHNjcmlwdD4=', 'Content-Transfer-Encoding: base64\r\n'),
      field('name="q"', '=3Cscript=3E', 'content-transfer-encoding: quoted-printable\r\n'),
    ),
  )
  t.deepEqual(pairs(coded.base64), [['a', '<script>']])
  t.true(coded.args.some(({ name, value }) => name === 'a' && value === '<script>'))
  t.true(coded.args.some(({ name, value }) => name === 'q' && value === '<script>'))
  const inner = '--c\r\nContent-Disposition: file; filename="x.zip"\r\n\r\nPK\r\n--c--\r\n'
  const nested = read(TYPE, whole(field('name="f"', inner, 'Content-Type: multipart/mixed; boundary=c\r\n')))
  t.like(nested.files[0], { field: 'f', fileName: 'x.zip', head: 'PK' })
  const documents = read(
    'multipart/related; boundary=b; type="application/xop+xml"',
    whole(
      '--b\r\nContent-Type: application/xop+xml\r\n\r\n<a><b>evil</b></a>\r\n',
      field('name="j"', '{"k":"evil"}', 'Content-Type: application/json\r\n'),
    ),
  )
  t.deepEqual(pairs(documents.xmlTexts), [['b', 'evil']])
  t.true(documents.args.some(({ name, value }) => name === 'j.k' && value === 'evil'))
})

test('bomb: 100,000 parts, endless headers, boundaries within boundaries', t => {
  const many = read(
    TYPE,
    `${'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'.repeat(100_000)}--b--`,
  )
  t.true(many.problems.includes('multipart-count'))
  t.true(many.args.length <= INSPECTION_LIMITS.multipartParts + 2)
  t.true(many.args.reduce((sum, { value }) => sum + value.length, 0) <= 2 * many.text.length)
  const headers = read(TYPE, whole(`--b\r\n${'X: y\r\n'.repeat(10_000)}\r\nevil\r\n`))
  t.true(headers.problems.includes('multipart-header'))
  t.true(headers.args.some(({ value }) => value.includes('evil')))
  const repeated = read('multipart/form-data; boundary=-', '-'.repeat(100_000))
  t.true(repeated.args.reduce((sum, { value }) => sum + value.length, 0) <= 3 * 100_000)
})
