// The pure parts of the load generators: options, request schedule, response framing, ab's report, fresh bodies.
import { readFile } from 'node:fs/promises'
import test from 'ava'
import { completeStatus } from '../../bench/load/http-connection.ts'
import { parseAb } from '../../bench/load/ab.ts'
import { dueTimes } from '../../bench/load/fixed-rate.ts'
import { checkInForm } from '../../bench/load/work.ts'
import { adapted } from '../../bench/peers/portcullis.ts'
import { parseOptions } from '../../bench/options.ts'

test('options choose rows and peers and refuse unknown ones by name', t => {
  const peers = ['nginx', 'portcullis']
  t.like(parseOptions(['--only', 'get,post', '--peers', 'nginx'], peers), {
    rows: ['get', 'post'],
    peers: ['nginx'],
  })
  t.is(parseOptions([], peers).rounds, 3)
  t.deepEqual(parseOptions(['--only', 'tunnel'], peers).rows, [])
  t.deepEqual(parseOptions(['--only', 'get,tunnel'], peers).labs, ['tunnel'])
  t.deepEqual(parseOptions([], peers).labs, ['heartbeats', 'tunnel', 'journal'])
  t.deepEqual(parseOptions(['--quick'], peers).labs, [])
  t.like(parseOptions(['--short'], peers), { labs: [], seconds: 1, isShort: true })
  t.true(parseOptions(['--quick'], peers).webSockets < parseOptions([], peers).webSockets)
  t.throws(() => parseOptions(['--only', 'gte'], peers), { message: /gte.*get/ })
  t.throws(() => parseOptions(['--peers', 'apache'], peers), { message: /apache.*nginx/ })
  t.throws(() => parseOptions(['--rounds', '2'], peers), { message: /rounds/ })
  t.throws(() => parseOptions(['--quick', '--update-docs'], peers), { message: /full run/ })
})

test('the schedule keeps its mean rate, ascends and is the same for the same seed', t => {
  const times = dueTimes(500, 20_000, 7)
  t.true(Math.abs(times.length - 10_000) < 400)
  t.true(times.every((at, index) => at >= (times[index - 1] ?? 0) && at < 20_000))
  t.deepEqual(dueTimes(500, 1_000, 7), dueTimes(500, 1_000, 7))
  t.notDeepEqual(dueTimes(500, 1_000, 7), dueTimes(500, 1_000, 8))
})

test('a response is complete exactly when its last byte is there', t => {
  for (const text of [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
    'HTTP/1.1 204 No Content\r\n\r\n',
  ]) {
    const bytes = Buffer.from(text)
    for (let length = 0; length < bytes.length; length++)
      t.is(completeStatus(bytes.subarray(0, length)), undefined)
    t.is(completeStatus(bytes), Number(text.slice(9, 12)))
  }
})

test("ab's report is read, and another text is refused", t => {
  const report = `
SSL/TLS Protocol:       TLSv1.3,TLS_AES_128_GCM_SHA256,256,128
Server Temp Key:        X25519 253 bits
Time taken for tests:   2.500 seconds
Complete requests:      1000
Failed requests:        3
Non-2xx responses:      2
`
  t.deepEqual(parseAb(report), {
    connections: 1_000,
    failed: 5,
    seconds: 2.5,
    protocol: 'TLSv1.3,TLS_AES_128_GCM_SHA256,256,128',
    group: 'X25519 253 bits',
  })
  t.throws(() => parseAb('apr_socket_recv: Connection refused'), { message: /no result/ })
})

test('check-in bodies are about 2 KiB and no field repeats', t => {
  const [first, second] = [checkInForm(1), checkInForm(2)]
  t.true(first.length > 1_900 && first.length < 2_300, String(first.length))
  const fields = new Set(first.split('&'))
  t.false(second.split('&').some(field => fields.has(field)))
})

test('the shipped policy still has the lines that the bench puts its port and upstream into', async t => {
  const shipped = await readFile(new URL('../../policies/portcullis.yaml', import.meta.url), 'utf8')
  const policy = adapted(shipped, 9_999, { host: '127.0.0.9', port: 8_888 })
  t.regex(policy, /address: '0\.0\.0\.0:9999'/)
  t.regex(policy, /primary: http:\/\/127\.0\.0\.9:8888\n/)
  t.throws(() => adapted('version: 1\n', 1, { host: 'x', port: 1 }), { message: /has no line/ })
})
