// Keys and operators: what is accepted, what guessing costs, and that nobody is locked out by somebody else's guesses.
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import test from 'ava'
import { createAccess } from '../../src/access/create-access.ts'
import { readAccessFile, writeAccessFile } from '../../src/access/access-file.ts'
import {
  addKey,
  addOperator,
  generateSecret,
  removeKey,
  removeOperator,
  setPassword,
} from '../../src/access/edit.ts'
import { accessBench, documentOf } from './support.ts'

const NOW = 1_800_000_000_000
const SITE = '198.51.100.7'

test('N13: without a key nothing may attach', async t => {
  const bench = accessBench(t)
  t.deepEqual(await bench.open().checkKey('Testing1', SITE), {
    ok: false,
    why: 'no-keys',
    retryAfterMs: null,
  })
  t.deepEqual(bench.derived, [])
})

test('argon2id for real: keys and operators written by the commands are accepted, and nothing else is', async t => {
  const { file } = accessBench(t)
  await addKey(file, 'Testing1', { name: 'acme', maxClients: 5 }, NOW)
  await addKey(file, 'Testing2', { name: 'globex', maxClients: null }, NOW)
  await addOperator(
    file,
    'correct horse',
    { name: 'alice', role: 'support', sites: null, keys: ['acme'] },
    NOW,
  )
  const text = readFileSync(file, 'utf8')
  t.notRegex(text, /Testing|correct horse/)
  t.is(statSync(file).mode & 0o777, 0o600)
  const access = createAccess({ file, clock: () => NOW, reporter: { report: () => undefined } })
  t.deepEqual(await access.checkKey('Testing1', SITE), {
    ok: true,
    key: { name: 'acme', maxClients: 5, createdMs: NOW },
  })
  t.like(await access.checkKey('Testing2', SITE), { ok: true, key: { name: 'globex' } })
  t.like(await access.checkKey('Testing3', SITE), { ok: false, why: 'unknown' })
  t.like(await access.checkKey('', SITE), { ok: false, why: 'unknown' })
  t.like(await access.checkOperator('alice', 'correct horse', SITE), {
    ok: true,
    operator: { role: 'support', keys: ['acme'] },
  })
  t.like(await access.checkOperator('alice', 'Testing1', SITE), { ok: false, why: 'unknown' })
  t.like(await access.checkOperator('bob', 'correct horse', SITE), { ok: false, why: 'unknown' })
  await setPassword(file, 'alice', 'another horse', NOW)
  await access.reload()
  t.like(await access.checkOperator('alice', 'correct horse', '192.0.2.1'), { ok: false, why: 'unknown' })
  t.like(await access.checkOperator('alice', 'another horse', '192.0.2.1'), { ok: true })
})

test('what cannot be a key, password or name is refused when it is added', async t => {
  const { file } = accessBench(t)
  const key = (value: string, name = 'acme') => addKey(file, value, { name, maxClients: null }, NOW)
  await t.throwsAsync(key('Test1'), { message: 'a gateway key has 8 to 256 characters, this one has 5' })
  await t.throwsAsync(key(''), { message: /8 to 256/ })
  await t.throwsAsync(key(' Testing1'), { message: /no blanks at its ends/ })
  await t.throwsAsync(key('Test\ting1'), { message: /control characters/ })
  for (const name of ['', '../x', 'a b', '-a', 'ä', 'a'.repeat(65), '__proto__', 'a\nb'])
    await t.throwsAsync(key('Testing1', name), { message: /cannot be a name/ })
  await key('Testing1')
  await t.throwsAsync(key('Testing2', 'ACME'), { message: /a gateway key ACME already/ })
  await t.throwsAsync(key('Testing1', 'twin'), { message: 'this is the key acme' })
  const operator = { name: 'alice', role: 'admin', sites: null, keys: null } as const
  await t.throwsAsync(addOperator(file, 'too short', operator, NOW), { message: /12 to 256/ })
  await t.throwsAsync(addOperator(file, 'long enough pw', { ...operator, keys: ['nope'] }, NOW), {
    message: 'there is no gateway key nope',
  })
  t.throws(() => removeKey(file, 'nope', NOW), { message: 'there is no gateway key nope' })
  t.throws(() => removeOperator(file, 'nope', NOW), { message: 'there is no operator nope' })
  t.deepEqual(
    readAccessFile(file)?.keys.map(entry => entry.name),
    ['acme'],
  )
})

test('a generated secret is long, can be read out, and is another one each time', t => {
  const secrets = new Set(Array.from({ length: 100 }, generateSecret))
  t.is(secrets.size, 100)
  for (const secret of secrets) t.regex(secret, /^[a-hjkmnp-z02-9]{6}(?:-[a-hjkmnp-z02-9]{2,6}){4}$/)
})

test('a file that is not exactly what was written keeps the last good one, and says so', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }))
  const access = bench.open()
  const good = readFileSync(bench.file, 'utf8')
  const value = JSON.parse(good) as { keys: readonly object[]; keySalt: string }
  const wrong: readonly [string, RegExp][] = [
    ['', /not JSON/],
    ['[]', /expected object/i],
    [good.slice(0, -20), /not JSON/],
    [JSON.stringify({ ...value, version: 2 }), /version/],
    [JSON.stringify({ ...value, more: 1 }), /more/],
    [JSON.stringify({ ...value, keySalt: 'AAAA' }), /keySalt: not 16 bytes/],
    [JSON.stringify({ ...value, keys: [...value.keys, ...value.keys] }), /same name/],
    [JSON.stringify({ ...value, keyCost: { memoryKiB: 9_999_999, passes: 2 } }), /keyCost\.memoryKiB/],
    [' '.repeat(1024 * 1024 + 1), /too large/],
  ]
  for (const [text, problem] of wrong) {
    writeFileSync(bench.file, text)
    await access.reload()
    const last = bench.events.at(-1)
    t.is(last?.name, 'access.rejected')
    t.regex(JSON.stringify(last?.fields), problem)
    t.notRegex(JSON.stringify(last), /"hash"/)
    t.like(last?.fields, { kept: true })
    t.like(await access.checkKey('Testing1', SITE), { ok: true })
  }
  t.like(await bench.open().checkKey('Testing1', SITE), { ok: false, why: 'no-keys' })
  t.like(bench.events.at(-1)?.fields, { kept: false })
})

test('N15: reload says what changed, and what is remembered of others stays true', async t => {
  const bench = accessBench(
    t,
    documentOf({ acme: 'Testing1', globex: 'Testing2' }, { alice: 'correct horse' }),
  )
  const access = bench.open()
  const changes: unknown[] = []
  const stop = access.onChange(change => changes.push(change))
  await access.checkKey('Testing1', SITE)
  writeAccessFile(
    bench.file,
    documentOf({ acme: 'Testing1', globex: 'Changed22', initech: 'Testing3' }, { bob: 'correct horse' }),
  )
  const change = {
    keysAdded: ['globex', 'initech'],
    keysRemoved: ['globex'],
    operatorsChanged: ['bob'],
    operatorsRemoved: ['alice'],
  }
  t.deepEqual(await access.reload(), change)
  t.deepEqual(changes, [change])
  t.deepEqual(
    bench.events.map(event => event.name),
    ['keys.reloaded', 'operators.reloaded'],
  )
  bench.derived.length = 0
  t.like(await access.checkKey('Testing1', SITE), { ok: true })
  t.deepEqual(bench.derived, [])
  t.like(await access.checkKey('Testing2', SITE), { ok: false, why: 'unknown' })
  t.like(await access.checkKey('Testing3', SITE), { ok: true })
  stop()
  rmSync(bench.file)
  t.deepEqual((await access.reload()).keysRemoved, ['acme', 'globex', 'initech'])
  t.is(changes.length, 1)
  t.like(await access.checkKey('Testing1', SITE), { ok: false, why: 'no-keys' })
})

test('a key that was wrong is right as soon as it is added', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }))
  const access = bench.open()
  t.like(await access.checkKey('Testing2', SITE), { ok: false, why: 'unknown' })
  writeAccessFile(bench.file, documentOf({ acme: 'Testing1', globex: 'Testing2' }))
  await access.reload()
  t.like(await access.checkKey('Testing2', SITE), { ok: true })
})

test('one client with one wrong key guesses once, however often it comes: its neighbours are not held', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }))
  const access = bench.open()
  for (let attempt = 0; attempt < 200; attempt++)
    t.like(await access.checkKey('WrongKey1', SITE), { ok: false, why: 'unknown' })
  t.deepEqual(bench.derived, ['WrongKey1'])
  t.like(await access.checkKey('Testing1', SITE), { ok: true })
})

test('different wrong keys hold the source for longer and longer; others, and those known from there, come in', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1', globex: 'Testing2' }))
  const access = bench.open()
  t.like(await access.checkKey('Testing1', SITE), { ok: true })
  const holds: number[] = []
  for (let guess = 0; guess < 16; guess++) {
    const answer = await access.checkKey(`Guessing${guess}`, SITE)
    if (answer.ok) t.fail()
    else if (answer.why === 'held') {
      holds.push(answer.retryAfterMs ?? 0)
      bench.advance(answer.retryAfterMs ?? 0)
    }
  }
  t.deepEqual(holds, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000])
  t.like(await access.checkKey('Guessing98', SITE), { ok: false, why: 'unknown' })
  // Held now: a new right key from there has to wait, the one that was used from there has not, and others never notice.
  t.like(await access.checkKey('Testing2', SITE), { ok: false, why: 'held' })
  t.like(await access.checkKey('Testing1', SITE), { ok: true })
  t.like(await access.checkKey('Testing2', '203.0.113.9'), { ok: true })
  let letIn = 0
  while ((await access.checkKey('Testing1', SITE)).ok) letIn++
  t.true(letIn < 60, 'a guesser at a held source could try a known key as fast as he likes')
  bench.advance(60 * 60_000)
  t.like(await access.checkKey('Testing2', SITE), { ok: true })
})

test('trap 25: guesses at a name from everywhere never lock its owner out', async t => {
  const bench = accessBench(t, documentOf({}, { alice: 'correct horse' }))
  const access = bench.open()
  for (let guess = 0; guess < 500; guess++) {
    await access.checkOperator('alice', `guess number ${guess}`, `192.0.2.${guess % 250}`)
  }
  t.like(await access.checkOperator('alice', 'correct horse', SITE), { ok: true })
  // A name under attack costs a source its first wrong guess, not its fifth.
  t.like(await access.checkOperator('alice', 'mistyped', '203.0.113.4'), { ok: false, why: 'unknown' })
  t.like(await access.checkOperator('alice', 'correct horse', '203.0.113.4'), { ok: false, why: 'held' })
  t.like(await access.checkOperator('bob', 'mistyped', '203.0.113.5'), { ok: false, why: 'unknown' })
  t.like(await access.checkOperator('bob', 'mistyped again', '203.0.113.5'), { ok: false, why: 'unknown' })
})

test('an unknown name costs exactly what a wrong password costs', async t => {
  const bench = accessBench(t, documentOf({}, { alice: 'correct horse' }))
  const access = bench.open()
  await access.checkOperator('alice', 'wrong password', SITE)
  await access.checkOperator('nobody', 'wrong password', SITE)
  await access.checkOperator('alice', 'wrong password', SITE)
  await access.checkOperator('nobody', 'wrong password', SITE)
  t.deepEqual(bench.derived, ['wrong password', 'wrong password'])
})

test('an IPv6 network of 64 bits is one source', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }))
  const access = bench.open()
  for (let guess = 0; guess < 5; guess++) await access.checkKey(`Guessing${guess}`, `2001:db8::${guess}`)
  t.like(await access.checkKey('Guessing9', '2001:db8::ffff'), { ok: false, why: 'held' })
  t.like(await access.checkKey('Guessing9', '2001:db8:0:1::1'), { ok: false, why: 'unknown' })
})

test('a site that comes back at once costs one derivation; guesses at once are not more than guesses in turn', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }))
  const access = bench.open()
  let letGo = bench.hold()
  const site = Array.from({ length: 300 }, () => access.checkKey('Testing1', SITE))
  letGo()
  for (const answer of await Promise.all(site)) t.like(answer, { ok: true })
  t.is(bench.derived.length, 1)
  letGo = bench.hold()
  const guesses = Array.from({ length: 100 }, (_, guess) =>
    access.checkKey(`Guessing${guess}`, '203.0.113.9'),
  )
  letGo()
  const answers = await Promise.all(guesses)
  t.is(answers.filter(answer => !answer.ok && answer.why === 'unknown').length, 5)
  t.is(answers.filter(answer => !answer.ok && answer.why === 'busy').length, 95)
  t.is(bench.derived.length, 6)
  t.like(await access.checkKey('GuessingX', '203.0.113.9'), { ok: false, why: 'held' })
})

test('a flood of guesses from everywhere waits in a short queue, and who has been in before passes it by', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }, { alice: 'correct horse' }))
  const access = bench.open()
  await access.checkKey('Testing1', SITE)
  await access.checkOperator('alice', 'correct horse', SITE)
  const letGo = bench.hold()
  const flood = Array.from({ length: 2_000 }, (_, guess) =>
    access.checkKey(`Guessing${guess}`, `10.${guess >> 8}.${guess & 255}.1`),
  )
  t.like(await access.checkKey('Testing1', '203.0.113.9'), { ok: true })
  t.like(await access.checkOperator('alice', 'correct horse', '203.0.113.9'), { ok: true })
  letGo()
  const answers = await Promise.all(flood)
  const busy = answers.filter(answer => !answer.ok && answer.why === 'busy')
  t.is(busy.length, 2_000 - 66)
  t.like(busy[0], { retryAfterMs: 1_000 })
})

test('a key that is removed while it is being checked is not accepted', async t => {
  const bench = accessBench(t, documentOf({ acme: 'Testing1' }))
  const access = bench.open()
  const letGo = bench.hold()
  const asked = access.checkKey('Testing1', SITE)
  writeAccessFile(bench.file, documentOf({}))
  await access.reload()
  letGo()
  t.like(await asked, { ok: false, why: 'unknown' })
})
