// Bodies held for rules: what is too long, unreadable, too slow or too much, and that nothing of it passes unseen or unsaid.
import { brotliCompressSync, gzipSync } from 'node:zlib'
import test from 'ava'
import { HeldMemory } from '../../../src/edge/http/held-memory.ts'
import type { RuleHit, RuleSet } from '../../../src/ips/rule-set.ts'
import type { ClassLimits, Snapshot } from '../../../src/policy/snapshot.ts'
import { at, noRules } from '../../support/snapshot.ts'
import { get, RawClient, startGate, withLimits, type TestGate } from './harness.ts'

type Judged = { readonly bytes: Uint8Array; readonly complete: boolean }

/** Rules that want every body and look for the word evil in its bytes. */
function bodyRules(judged: Judged[] = []): RuleSet {
  return {
    ...noRules,
    wantsBody: () => true,
    matchBody: (_facts, _scope, bytes, complete): readonly RuleHit[] => {
      judged.push({ bytes: Buffer.from(bytes), complete })
      if (!Buffer.from(bytes).includes('evil')) return []
      return [
        {
          ruleId: 'B-1',
          title: 'Evil',
          severity: 'high',
          mode: 'enforce',
          field: 'body',
          value: 'evil',
          steps: [],
          score: 0,
          exception: null,
          at: at(80),
        },
      ]
    },
  }
}

function gateWith(
  rules: RuleSet,
  limits: Partial<ClassLimits> = {},
  gateLimits: Partial<Snapshot['limits']> = {},
): Promise<TestGate> {
  const base = withLimits(limits, { rules })
  return startGate({ snapshot: { ...base, limits: { ...base.limits, inspectBytes: 1_024, ...gateLimits } } })
}

const head = (...lines: readonly string[]): string => get('/automate/x', ...lines).replace('GET', 'POST')
const post = (body: string, ...lines: readonly string[]): string =>
  head(`Content-Length: ${body.length}`, ...lines) + body
const chunked = (...chunks: readonly string[]): string =>
  head('Transfer-Encoding: chunked') +
  chunks.map(chunk => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('') +
  '0\r\n\r\n'

test('an announced body that is too long is refused before a byte of it is asked for', async t => {
  const judged: Judged[] = []
  const gate = await gateWith(bodyRules(judged))
  const client = await RawClient.open(gate.port)
  client.send(head('Content-Length: 1025', 'Expect: 100-continue'))
  const text = await client.all()
  t.true(text.startsWith('HTTP/1.1 413 Content Too Large\r\n'), text)
  t.false(text.includes('100 Continue'))
  t.like(await gate.event('request.refused'), {
    reason: 'body-unread',
    stage: 'limits',
    saw: '1025 bytes, 1024 looked at',
    line: 'policies/portcullis.yaml:10:1',
    class: 'console',
  })
  t.is(gate.forwarder.exchanges.length, 0)
  t.is(judged.length, 0)
  client.socket.end()
  await gate.close()
})

test('a body of exactly the limit is judged whole; one more byte in chunks is refused after the rules saw the rest', async t => {
  const judged: Judged[] = []
  const gate = await gateWith(bodyRules(judged))
  gate.forwarder.serve = exchange => exchange.answer(200, [], 'fine')
  const client = await RawClient.open(gate.port)
  client.send(post('x'.repeat(1_024)))
  await client.until(text => text.endsWith('fine'))
  t.deepEqual([judged[0]?.bytes.length, judged[0]?.complete], [1_024, true])
  client.received = ''
  client.send(chunked('x'.repeat(1_000), 'x'.repeat(25)))
  t.true((await client.all()).startsWith('HTTP/1.1 413 '))
  t.deepEqual([judged[1]?.bytes.length, judged[1]?.complete], [1_024, false])
  t.like(await gate.event('request.refused'), { reason: 'body-unread' })
  t.is(gate.forwarder.exchanges.length, 1)
  const evil = await RawClient.open(gate.port)
  evil.send(chunked(`evil ${'x'.repeat(2_000)}`))
  await evil.all()
  t.like(await gate.event('request.refused', 1), { reason: 'rule' })
  client.socket.destroy()
  evil.socket.destroy()
  await gate.close()
})

test('where the class records, a long body is judged as far as held, passes unchanged, and is reported once', async t => {
  const judged: Judged[] = []
  const gate = await gateWith(bodyRules(judged), { whenUnread: 'record' })
  const client = await RawClient.open(gate.port)
  const body = 'y'.repeat(5_000)
  const sent = post(body)
  for (let from = 0; from < sent.length; from += 600) {
    client.send(sent.slice(from, from + 600))
    await new Promise(resolve => setImmediate(resolve))
  }
  const exchange = await gate.forwarder.at(0)
  await gate.forwarder.when(() => exchange.ended)
  t.is(exchange.body.toString(), body)
  t.deepEqual([judged[0]?.bytes.length, judged[0]?.complete], [1_024, false])
  exchange.answer(200, [], 'ok')
  await client.until(text => text.endsWith('ok'))
  t.is(gate.count('inspection.incomplete'), 1)
  t.like(await gate.event('inspection.incomplete'), {
    what: 'body',
    why: 'size',
    saw: '5000 bytes, 1024 looked at',
    method: 'POST',
    path: '/automate/x',
  })
  client.received = ''
  client.send(post(`evil${body}`))
  await client.all()
  t.like(await gate.event('request.refused'), { reason: 'rule' })
  client.socket.destroy()
  await gate.close()
})

test('a content coding that nobody can undo is refused or recorded, however it is written', async t => {
  for (const lines of [
    ['Content-Encoding: zstd'],
    ['content-encoding: GZIP, Zstd'],
    ['Content-Encoding: gzip', 'Content-Encoding: compress'],
    ['Content-Encoding: gzip;q=1'],
    ['Content-Encoding: "gzip"'],
  ]) {
    const strict = await gateWith(bodyRules())
    const client = await RawClient.open(strict.port)
    client.send(post('x', ...lines))
    t.true((await client.all()).startsWith('HTTP/1.1 415 Unsupported Media Type\r\n'), lines.join())
    t.like(await strict.event('request.refused'), { reason: 'body-coding' })
    t.is(strict.forwarder.exchanges.length, 0)
    client.socket.end()
    await strict.close()
    const lax = await gateWith(bodyRules(), { whenUnread: 'record' })
    lax.forwarder.serve = exchange => exchange.answer(200, [], 'ok')
    const other = await RawClient.open(lax.port)
    other.send(post('x', ...lines))
    await other.until(text => text.endsWith('ok'))
    t.like(await lax.event('inspection.incomplete'), { why: 'coding' })
    other.socket.end()
    await lax.close()
  }
})

test('codings that can be undone, and bodies that nobody wants, pass as they are', async t => {
  const judged: Judged[] = []
  const gate = await gateWith(bodyRules(judged))
  const gzip = gzipSync('hello')
  for (const [coding, body] of [
    ['gzip', gzip],
    ['X-Gzip', gzip],
    ['br', brotliCompressSync('hello')],
    ['identity', Buffer.from('hello')],
  ] as const) {
    const client = await RawClient.open(gate.port)
    client.send(head(`Content-Encoding: ${coding}`, `Content-Length: ${body.length}`))
    client.send(body)
    const exchange = await gate.forwarder.at(judged.length)
    await gate.forwarder.when(() => exchange.ended)
    t.true(exchange.body.equals(body), coding)
    t.true(Buffer.from(judged.at(-1)?.bytes ?? []).equals(body))
    exchange.answer(200)
    client.socket.end()
  }
  await gate.close()
  const unwanted = await gateWith(noRules)
  unwanted.forwarder.serve = exchange => exchange.answer(200, [], 'ok')
  const client = await RawClient.open(unwanted.port)
  client.send(post('z'.repeat(5_000), 'Content-Encoding: zstd'))
  await client.until(text => text.endsWith('ok'))
  client.socket.end()
  await unwanted.close()
})

test('a held body that trickles in is refused; one that keeps the rate is not, and silence has its own limit', async t => {
  const gate = await gateWith(bodyRules(), { bodyIdleMs: 8_000 }, { heldBytesPerSecond: 10 })
  const slow = await RawClient.open(gate.port)
  slow.send(head('Content-Length: 1000'))
  const received = async (bytes: number): Promise<void> => {
    const [activity] = gate.activities
    while ((activity?.bytesIn() ?? 0) < head('Content-Length: 1000').length + bytes)
      await new Promise(resolve => setImmediate(resolve))
  }
  for (let second = 1; second <= 20; second++) {
    gate.clock.pass(750)
    slow.send('x'.repeat(10))
    await received(second * 10)
  }
  t.is(gate.count('request.refused'), 0, 'ten bytes a second are enough')
  // Ten seconds of grace and twenty of bytes: from here on one byte a second is too little.
  for (let second = 1; gate.count('request.refused') === 0 && second < 60; second++) {
    gate.clock.pass(750)
    if (gate.count('request.refused') > 0) break
    slow.send('x')
    await received(200 + second)
  }
  t.true((await slow.all()).startsWith('HTTP/1.1 408 '))
  t.like(await gate.event('request.refused'), { reason: 'body-too-slow' })
  t.is(gate.forwarder.exchanges.length, 0)
  slow.socket.end()
  await gate.close()
  const silent = await gateWith(bodyRules(), { bodyIdleMs: 1_000 }, { heldBytesPerSecond: 10 })
  const client = await RawClient.open(silent.port)
  client.send(`${head('Content-Length: 1000')}x`)
  while ((silent.activities[0]?.bytesIn() ?? 0) <= head('Content-Length: 1000').length)
    await new Promise(resolve => setImmediate(resolve))
  silent.clock.pass(1_500)
  t.true((await client.all()).startsWith('HTTP/1.1 408 '))
  t.like(await silent.event('request.closed'), { ending: 'client-timeout' })
  client.socket.end()
  await silent.close()
})

test('when the memory for held bodies is used up, the class decides, and it is free again afterwards', async t => {
  for (const whenUnread of ['refuse', 'record'] as const) {
    const gate = await gateWith(bodyRules(), { whenUnread }, { heldBytes: 1_500 })
    const first = await RawClient.open(gate.port)
    first.send(`${head('Content-Length: 1000')}${'x'.repeat(900)}`)
    const [activity] = await gate.forwarder.when(() => true).then(() => gate.activities)
    while ((activity?.bytesIn() ?? 0) < 950) await new Promise(resolve => setImmediate(resolve))
    const second = await RawClient.open(gate.port)
    second.send(post('y'.repeat(900)))
    if (whenUnread === 'refuse') {
      t.true((await second.all()).startsWith('HTTP/1.1 503 '))
      t.like(await gate.event('request.refused'), { reason: 'inspection-full' })
      t.is(gate.forwarder.exchanges.length, 0)
    } else {
      const exchange = await gate.forwarder.at(0)
      await gate.forwarder.when(() => exchange.ended)
      t.is(exchange.body.length, 900)
      t.like(await gate.event('inspection.incomplete'), { why: 'memory' })
      exchange.answer(200)
    }
    first.send('x'.repeat(100))
    const served = await gate.forwarder.at(whenUnread === 'refuse' ? 0 : 1)
    await gate.forwarder.when(() => served.ended)
    t.is(served.body.length, 1_000)
    served.answer(200, [], 'ok')
    await first.until(text => text.endsWith('ok'))
    // What is over takes no memory: as much as before fits again.
    first.received = ''
    first.send(post('z'.repeat(1_000)))
    const again = await gate.forwarder.at(gate.forwarder.exchanges.length - 1)
    await gate.forwarder.when(() => gate.forwarder.exchanges.at(-1) !== served)
    gate.forwarder.exchanges.at(-1)?.answer(200, [], 'ok')
    t.truthy(again)
    await first.until(text => text.endsWith('ok'))
    first.socket.destroy()
    second.socket.destroy()
    await gate.quiet()
    await gate.close()
  }
})

test('copies for a second try make room for bodies that wait for rules; they lose only the second try', async t => {
  const picky: RuleSet = {
    ...bodyRules(),
    wantsBody: ({ path }) => path === '/automate/judged',
  }
  const gate = await gateWith(picky, {}, { heldBytes: 1_500 })
  const copied = await RawClient.open(gate.port)
  copied.send(post('c'.repeat(1_000)))
  const exchange = await gate.forwarder.at(0)
  await gate.forwarder.when(() => exchange.ended)
  const judged = await RawClient.open(gate.port)
  judged.send(post('j'.repeat(1_000)).replace('/automate/x', '/automate/judged'))
  const second = await gate.forwarder.at(1)
  await gate.forwarder.when(() => second.ended)
  t.is(second.body.length, 1_000)
  second.answer(200, [], 'ok')
  exchange.answer(200, [], 'ok')
  await judged.until(text => text.endsWith('ok'))
  await copied.until(text => text.endsWith('ok'))
  t.is(gate.count('inspection.incomplete') + gate.count('request.refused'), 0)
  copied.socket.destroy()
  judged.socket.destroy()
  await gate.close()
})

test('the memory counts exactly, and lets the oldest copies go first', t => {
  const memory = new HeldMemory()
  t.true(memory.take(60, 100))
  t.false(memory.take(50, 100))
  t.is(memory.bytes, 60)
  const gone: string[] = []
  const copy = (name: string, bytes: number): { readonly forget: () => void } => ({
    forget: () => {
      gone.push(name)
      memory.give(bytes)
    },
  })
  const first = copy('first', 30)
  memory.offer(first)
  memory.offer(copy('second', 30))
  t.true(memory.take(60, 100))
  t.deepEqual(gone, ['first'])
  t.is(memory.bytes, 90)
  t.false(memory.take(100, 100))
  t.deepEqual(gone, ['first', 'second'])
  t.is(memory.bytes, 60)
})

test('a body is judged whatever its framing: chunk extensions, trailers, one byte at a time, after 100 Continue, behind another request', async t => {
  const evil = 'this is evil'
  const cases: readonly (readonly [string, string])[] = [
    ['chunks of one byte', chunked(...evil.split(''))],
    [
      'chunk extensions',
      head('Transfer-Encoding: chunked') +
        evil
          .split('')
          .map(char => `1;a="b"\r\n${char}\r\n`)
          .join('') +
        '0\r\n\r\n',
    ],
    [
      'trailers',
      `${head('Transfer-Encoding: chunked', 'Trailer: X')}c\r\n${evil}\r\n0\r\nContent-Encoding: gzip\r\n\r\n`,
    ],
    ['mixed case of the coding', head('transfer-ENCODING: Chunked') + `c\r\n${evil}\r\n0\r\n\r\n`],
    ['100-continue', post(evil, 'Expect: 100-Continue')],
    ['pipelined', post('good') + post(evil)],
  ]
  for (const [what, bytes] of cases) {
    for (const split of [false, true]) {
      const gate = await gateWith(bodyRules())
      gate.forwarder.serve = exchange => exchange.answer(200)
      const client = await RawClient.open(gate.port)
      if (split) {
        for (const char of bytes) {
          client.send(char)
          await new Promise(resolve => setImmediate(resolve))
        }
      } else client.send(bytes)
      t.like(await gate.event('request.refused'), { reason: 'rule' }, what)
      t.false(
        gate.forwarder.exchanges.some(exchange => exchange.body.includes('evil')),
        what,
      )
      client.socket.destroy()
      await gate.close()
    }
  }
})
