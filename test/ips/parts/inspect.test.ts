// Bodies as a whole: content codings, character sets, conflicts of type, laziness, and what any bytes may do.
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import test from 'ava'
import * as fc from 'fast-check'
import { inspectRequest, withBody, withMessage } from '../../../src/ips/parts/inspect.ts'
import { INSPECTION_LIMITS } from '../../../src/ips/parts/limits.ts'
import { requestFacts } from '../../policy/request.ts'
import { pairs, read, utf8 } from './support.ts'

const FORM = 'application/x-www-form-urlencoded'
const JSON_TYPE = 'application/json'
const EVIL = Buffer.from('{"url":"evil"}')

test('query and cookies are split, and stay the same with a body and a message', t => {
  const target = '/x?a=%41+b&a=2&p=PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg'
  const head = inspectRequest(
    requestFacts('GET', target, { headers: { Cookie: 'A=1; b="x%41=";c; A=2' } }),
    null,
    true,
  )
  t.deepEqual(pairs(head.query).slice(0, 2), [
    ['a', 'A b'],
    ['a', '2'],
  ])
  t.deepEqual(pairs(head.queryBase64), [['p', '<script>alert(1)</script>']])
  t.deepEqual(pairs(head.cookies), [
    ['A', '1'],
    ['b', '"x%41="'],
    ['', 'c'],
    ['A', '2'],
  ])
  t.is(head.body, null)
  const body = withBody(head, Buffer.from('x'), true)
  t.is(body.query, head.query)
  const message = withMessage(body, { number: 1, kind: 'text', text: 'x', complete: true })
  t.is(message.cookies, head.cookies)
  t.is(message.body, body.body)
})

test('content codings are undone: names, layers, raw deflate, several members, rubbish behind', t => {
  for (const [coding, bytes] of [
    ['gzip', gzipSync(EVIL)],
    ['GZip', gzipSync(EVIL)],
    ['x-gzip', gzipSync(EVIL)],
    ['deflate', deflateSync(EVIL)],
    ['deflate', deflateRawSync(EVIL)],
    ['br', brotliCompressSync(EVIL)],
    ['identity', EVIL],
    ['gzip, br', brotliCompressSync(gzipSync(EVIL))],
    ['gzip', Buffer.concat([gzipSync(EVIL.subarray(0, 5)), gzipSync(EVIL.subarray(5))])],
    ['gzip', Buffer.concat([gzipSync(EVIL), Buffer.from('rubbish')])],
  ] as const) {
    const { args, problems } = read(JSON_TYPE, bytes, { coding })
    t.deepEqual(pairs(args), [['url', 'evil']], coding)
    t.deepEqual(problems, [], coding)
  }
})

test('attack: a coding that is not what it says is a problem, and the bytes are read as they are', t => {
  for (const [coding, body, problem] of [
    ['gzip', EVIL, 'coding-broken'],
    ['zstd', EVIL, 'coding-unknown'],
    ['br, gzip, gzip, gzip', gzipSync(gzipSync(gzipSync(EVIL))), 'coding-layers'],
    ['gzip', gzipSync(EVIL).subarray(0, -9), 'coding-broken'],
  ] as const) {
    const { problems, args } = read(JSON_TYPE, body, { coding })
    t.true(problems.includes(problem), coding)
    if (body === EVIL) t.true(args.some(({ value }) => value === 'evil'))
  }
  const cut = read(JSON_TYPE, gzipSync(EVIL).subarray(0, -12), { coding: 'gzip', complete: false })
  t.false(cut.problems.includes('coding-broken'))
  t.true(cut.problems.includes('cut-off'))
})

test('bomb: ten megabytes of zeros in ten kilobytes, and a bomb within base64', t => {
  const bomb = gzipSync(Buffer.alloc(10_485_760))
  t.true(bomb.length < 12_000)
  for (const coding of ['gzip', 'br']) {
    const bytes = coding === 'gzip' ? bomb : brotliCompressSync(Buffer.alloc(10_485_760))
    const { problems, text } = read(JSON_TYPE, bytes, { coding })
    t.true(problems.includes('coding-ratio'), coding)
    t.true(text.length <= INSPECTION_LIMITS.inflatedBytes)
  }
  const twice = read(JSON_TYPE, gzipSync(bomb), { coding: 'gzip, gzip' })
  t.true(twice.problems.includes('coding-ratio'))
  const within = read(JSON_TYPE, `["${bomb.toString('base64')}"]`)
  t.true(within.problems.includes('coding-ratio'))
  t.true(
    within.base64.reduce((sum, { value }) => sum + value.length, 0) <= 2 * INSPECTION_LIMITS.inflatedBytes,
  )
  // A repetitive inventory is no bomb.
  const inventory = gzipSync(
    Buffer.from(
      JSON.stringify(Array.from({ length: 400 }, (_, n) => ({ name: 'Service', state: 'Running', n }))),
    ),
  )
  t.deepEqual(read(JSON_TYPE, inventory, { coding: 'gzip' }).problems, [])
})

test('attack: character sets that only the server reads', t => {
  const form = 'url=evil'
  const ebcdic = Buffer.from([0xa4, 0x99, 0x93, 0x7e, 0x85, 0xa5, 0x89, 0x93])
  for (const [type, body] of [
    [`${FORM}; charset=utf-16le`, Buffer.from(form, 'utf16le')],
    [`${FORM}; charset=UTF-16`, Buffer.from(form, 'utf16le').swap16()],
    [FORM, Buffer.from(form, 'utf16le')],
    [FORM, Buffer.from(`\ufeff${form}`, 'utf16le')],
    [`${FORM}; charset="utf-7"`, Buffer.from('url=+AGUAdgBpAGw-')],
    [`${FORM}; charset=IBM037`, ebcdic],
    [`${FORM}; charset=utf-32le`, Buffer.from(Array.from(form, char => `${char}\0\0\0`).join(''))],
    // A server that does not know the character set takes the bytes.
    [`${FORM}; charset=ibm037`, Buffer.from(form)],
    [`${FORM}; charset=no-such`, Buffer.from(form)],
    [`${FORM}; charset=iso-8859-1`, Buffer.from(form)],
  ] as const)
    t.true(
      read(type, body).args.some(({ name, value }) => name === 'url' && value === 'evil'),
      type,
    )
  t.deepEqual(read(`${FORM}; charset=no-such`, form).problems, ['charset-unknown'])
  t.deepEqual(read(`${FORM}; charset=UTF-8`, form).problems, [])
  t.is(read('text/plain; charset=utf-16le', Buffer.from('ü', 'utf16le')).text.split('\n')[0], utf8('ü'))
})

test('a body is read by its type and by its look; where they disagree both count', t => {
  const conflict = (type: string | readonly string[] | null, body: string): boolean => {
    const { args, xmlTexts, problems } = read(type, body)
    t.true(
      [...args, ...xmlTexts].some(({ name, value }) => name === 'url' && value === 'evil'),
      `${String(type)} ${body}`,
    )
    return problems.includes('type-conflict')
  }
  t.true(conflict(FORM, '{"url":"evil"}'))
  t.true(conflict(FORM, '<url>evil</url>'))
  t.true(conflict(JSON_TYPE, 'url=evil'))
  t.true(conflict(JSON_TYPE, '<url>evil</url>'))
  t.true(conflict('text/xml', '{"url":"evil"}'))
  t.true(conflict('multipart/form-data; boundary=b', '{"url":"evil"}'))
  t.true(conflict(FORM, '--b\r\nContent-Disposition: form-data; name="url"\r\n\r\nevil\r\n--b--'))
  t.true(conflict([FORM, JSON_TYPE], 'url=evil'))
  t.false(conflict('text/plain', '{"url":"evil"}'))
  t.false(conflict('application/octet-stream', '{"url":"evil"}'))
  t.false(conflict('image/png, application/json', '{"url":"evil"}'))
  t.false(conflict('application/soap+xml; charset=utf-8', '<url>evil</url>'))
  t.false(conflict(null, 'url=evil'))
  t.false(conflict('application/vnd.api+json', ' \n{"url":"evil"}'))
  const kinds = (type: string | null, body: string): string => read(type, body).kind
  t.is(kinds(null, ''), 'none')
  t.is(kinds('text/plain', 'a=b'), 'text')
  t.is(kinds('application/octet-stream', 'MZ\0\x01'), 'binary')
  t.is(
    kinds('application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'PK\x03\x04'),
    'binary',
  )
  t.is(kinds(null, '<a/>'), 'xml')
})

test('any bytes under any type: nothing throws, output is bounded, the text is always there', t => {
  const type = fc.constantFrom(
    null,
    FORM,
    JSON_TYPE,
    'text/xml',
    'multipart/form-data; boundary=b',
    'application/zip',
    'text/xml; charset=utf-16',
    'x/y; charset=utf-7',
  )
  const piece = fc.oneof(
    fc.string({ unit: 'binary-ascii', maxLength: 20 }),
    fc.uint8Array({ maxLength: 20 }).map(bytes => Buffer.from(bytes).toString('latin1')),
    fc.constantFrom(
      '{"a":',
      '[',
      ']',
      '}',
      '"',
      '\\u',
      '<a ',
      '>',
      '</a>',
      '<![CDATA[',
      '<!DOCTYPE',
      '&#x',
      '--b',
      '\r\n',
      '\r\n\r\n',
      'Content-Disposition: form-data; name="',
      'filename*=',
      'PK\x03\x04',
      '=?utf-8?B?',
      'AAAAAAAAAAAAAAAAAAAA',
      '%',
      '&',
      '\x1f\x8b\x08',
    ),
  )
  const coding = fc.constantFrom(undefined, 'gzip', 'deflate', 'br')
  fc.assert(
    fc.property(
      type,
      fc.array(piece, { maxLength: 30 }),
      coding,
      fc.boolean(),
      (type, pieces, coding, complete) => {
        const bytes = Buffer.from(pieces.join(''), 'latin1')
        const body = read(type, bytes, coding === undefined ? { complete } : { coding, complete })
        const total = [...body.args, ...body.xmlTexts, ...body.xmlAttributes, ...body.base64].reduce(
          (sum, { name, value }) => sum + name.length + value.length,
          body.archiveEntries.join('').length + body.xmlContent.length + (body.xmlDoctype?.length ?? 0),
        )
        t.true(total <= 40 * (body.text.length + bytes.length) + 1000, `${total} of ${bytes.length}`)
        t.true(body.problems.length <= 22)
        t.is(body.problems.includes('cut-off') || complete, true)
      },
    ),
    { numRuns: 1_500 },
  )
})

test('nothing is parsed before it is asked for', t => {
  let inflated = 0
  const facts = requestFacts('POST', '/x', { headers: { 'content-encoding': 'gzip' } })
  const { body } = inspectRequest(facts, gzipSync(EVIL), true, {
    inflate: (_coding, bytes) => {
      inflated++
      return { bytes, ended: 'complete' }
    },
  })
  t.is(inflated, 0)
  t.is(body?.args.length, 0)
  t.is(body?.args, body?.args)
  t.deepEqual(body?.problems, [])
  t.is(inflated, 1)
})

test('attack: where a form is wanted, a body of no telling type is read as one too', t => {
  const formOf = (type: string | null, body: string, isFormWanted = true) => {
    const plain = requestFacts('POST', '/x')
    const raw = type === null ? [] : ['Content-Type', type]
    const facts = { ...plain, headers: { raw, get: (): undefined => undefined } }
    const read = inspectRequest(facts, Buffer.from(body, 'latin1'), true, { isFormWanted }).body
    return { kind: read?.kind, args: pairs(read?.args ?? []), problems: read?.problems }
  }
  for (const type of ['text/plain', 'application/octet-stream', 'application/x-own', 'image/png', '']) {
    t.deepEqual(formOf(type, 'x&user=a%41').args, [
      ['x', ''],
      ['user', 'aA'],
    ])
    t.deepEqual(formOf(type, 'user=a', false).args, [])
  }
  t.deepEqual(formOf(null, '&&(=1&user=a').args, [
    ['(', '1'],
    ['user', 'a'],
  ])
  // What was not sent as a form is no broken form either, and programs are not split.
  t.deepEqual(formOf('text/plain', 'a=1&'.repeat(1_100)).problems, [])
  t.is(formOf('text/plain', 'a=1').kind, 'text')
  t.deepEqual(formOf('application/octet-stream', 'MZ\x01\x00=&user=a').args, [])
  t.deepEqual(formOf('text/plain', '\x01=&user=a').args.at(-1), ['user', 'a'])
  t.deepEqual(formOf('application/json', '{"a":"b=c"}').args, [['a', 'b=c']])
})
