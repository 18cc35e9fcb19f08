// Certificates: found by name, validated before use, replaced while running, held back for agents that pin.
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import test, { type ExecutionContext } from 'ava'
import { createCertificates, PIN_SPACING_MS, type Certificates } from '../../src/edge/certificates.ts'
import { createDevAuthority } from '../../src/edge/dev-authority.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'
import { testCertificate } from '../support/certificates.ts'
import { name, snapshot, testProfile } from '../support/snapshot.ts'
import { connectTls, Events, startGate, untilIdle } from './gate-harness.ts'

const DAY_MS = 86_400_000
const HOST = 'rmm.example.test'

type Fixture = {
  readonly certs: string
  readonly events: Events
  readonly store: Certificates
  readonly policy: Snapshot
  nowMs: number
}

/** A certs directory and a store over it; the clock is the test's. */
async function fixture(
  t: ExecutionContext,
  options: { readonly development?: boolean; readonly names?: Snapshot['names'] } = {},
): Promise<Fixture> {
  const certs = await mkdtemp(join(tmpdir(), 'portcullis-certs-'))
  const events = new Events()
  const directories = { ...snapshot().directories, certs }
  const made: { nowMs: number } = { nowMs: Date.now() }
  const nowMs = (): number => made.nowMs
  const store = createCertificates({
    reporter: events.reporter,
    nowMs,
    development: options.development === true ? createDevAuthority(certs, nowMs) : null,
  })
  t.teardown(async () => {
    store.close()
    await rm(certs, { recursive: true })
  })
  return Object.assign(made, {
    certs,
    events,
    store,
    policy: snapshot({ directories, names: options.names ?? [name()] }),
  })
}

async function put(
  certs: string,
  base: string,
  options: {
    readonly type?: 'ecdsa' | 'rsa'
    readonly days?: number
    readonly names?: readonly string[]
  } = {},
): Promise<void> {
  const { cert, key } = await testCertificate(options.names ?? [HOST], options)
  await writeFile(join(certs, `${base}.key`), key)
  await writeFile(join(certs, `${base}.crt`), cert)
}

const fingerprint = ({ store }: Fixture): string | undefined => store.forHost(HOST)?.fingerprint

test('files are found by name, ECDSA and RSA side by side', async t => {
  const found = await fixture(t)
  await put(found.certs, HOST)
  await put(found.certs, `${HOST}.rsa`, { type: 'rsa' })
  await found.store.apply(found.policy)
  t.deepEqual(
    found.store.forHost(HOST)?.certificates.map(({ keyType }) => keyType),
    ['ec', 'rsa'],
  )
  t.is(found.store.forHost(HOST)?.origin, 'directory')
  t.deepEqual(
    found.events.of('certificate.loaded').map(({ keyType }) => keyType),
    ['ec', 'rsa'],
  )
  await found.store.reload()
  t.is(found.events.of('certificate.loaded').length, 2)
  t.deepEqual(found.events.of('certificate.rejected'), [])
})

test('a wildcard file serves its names; a configured path comes before the directory', async t => {
  const own = join(await mkdtemp(join(tmpdir(), 'portcullis-own-')), 'own')
  t.teardown(() => rm(join(own, '..'), { recursive: true }))
  const configured = name({
    host: 'own.example.test',
    certificates: [{ certFile: `${own}.crt`, keyFile: `${own}.key` }],
  })
  const found = await fixture(t, { names: [name(), configured, name({ host: '*.example.test' })] })
  await put(join(own, '..'), 'own', { names: ['own.example.test'] })
  await put(found.certs, '_.example.test', { names: ['*.example.test'] })
  await found.store.apply(found.policy)
  t.is(found.store.forHost(HOST)?.certificates[0]?.certFile, join(found.certs, '_.example.test.crt'))
  t.is(found.store.forHost('own.example.test')?.origin, 'configured')
  t.truthy(found.store.forHost('*.example.test'))
})

test('what must not be used is refused with its reason, and the last good certificate stays', async t => {
  const found = await fixture(t)
  await put(found.certs, HOST)
  await found.store.apply(found.policy)
  const good = fingerprint(found)
  const problems: string[] = []
  const tryFiles = async (change: () => Promise<void>): Promise<void> => {
    await change()
    await found.store.reload()
    t.is(fingerprint(found), good)
    problems.push(found.events.of('certificate.rejected').at(-1)?.problem ?? '')
    t.truthy(found.store.states()[0]?.problem)
  }
  const other = await testCertificate([HOST])
  await tryFiles(() => writeFile(join(found.certs, `${HOST}.key`), other.key))
  await tryFiles(() => writeFile(join(found.certs, `${HOST}.crt`), other.cert.slice(0, 200)))
  await tryFiles(() => put(found.certs, HOST, { names: ['somewhere.else.test'] }))
  await tryFiles(() => put(found.certs, HOST, { days: -1 }))
  await tryFiles(() => rm(join(found.certs, `${HOST}.crt`)))
  t.regex(problems[0] ?? '', /is for another certificate/)
  t.regex(problems[2] ?? '', /does not cover rmm\.example\.test/)
  t.regex(problems[3] ?? '', /it ended on/)
  t.regex(problems[4] ?? '', /files are gone/)
  t.is(new Set(problems).size, 5)
  await found.store.reload()
  t.is(found.events.of('certificate.rejected').length, 5)
  await put(found.certs, HOST)
  await found.store.reload()
  t.not(fingerprint(found), good)
  t.is(found.store.states()[0]?.problem, null)
})

test('an ended certificate is better than none, and says so', async t => {
  const found = await fixture(t)
  await put(found.certs, HOST, { days: -1 })
  await found.store.apply(found.policy)
  t.truthy(found.store.forHost(HOST))
  t.regex(found.events.of('certificate.rejected')[0]?.problem ?? '', /it ended on/)
  t.true((found.events.of('certificate.expiring')[0]?.daysLeft ?? 0) < 0)
})

test('the end of a certificate is announced at 30, 14, 7, 1 and 0 days, once each', async t => {
  const found = await fixture(t)
  await put(found.certs, HOST, { days: 60 })
  await found.store.apply(found.policy)
  for (let day = 0; day < 61; day++) {
    found.nowMs += DAY_MS
    await found.store.reload()
    await found.store.reload()
  }
  const left = found.events.of('certificate.expiring').map(({ daysLeft }) => daysLeft)
  t.deepEqual(left.slice(0, 4), [30, 14, 7, 1])
  t.is(left.length, 5)
})

test('trap 41: for agents that pin, a second change within two minutes is held back and announced', async t => {
  const found = await fixture(t, { names: [name({ profile: { ...testProfile, pinsCertificate: true } })] })
  const replace = async (): Promise<void> => {
    await put(found.certs, HOST)
    await found.store.reload()
  }
  await put(found.certs, HOST)
  await found.store.apply(found.policy)
  const first = fingerprint(found)
  await replace()
  const second = fingerprint(found)
  t.not(second, first)
  const changedMs = found.nowMs
  found.nowMs += 30_000
  await replace()
  t.is(fingerprint(found), second)
  t.like(found.events.of('certificate.held')[0], { name: HOST, untilMs: changedMs + PIN_SPACING_MS })
  t.is(found.store.states()[0]?.heldUntilMs, changedMs + PIN_SPACING_MS)
  found.nowMs += 30_000
  await replace()
  t.is(found.events.of('certificate.held').length, 1)
  t.is(fingerprint(found), second)
  found.nowMs = changedMs + PIN_SPACING_MS
  await found.store.reload()
  t.not(fingerprint(found), second)
  t.is(found.store.states()[0]?.heldUntilMs, null)
})

test('a name without pinning agents changes as often as its files do', async t => {
  const found = await fixture(t)
  const seen = new Set<string | undefined>()
  for (let turn = 0; turn < 3; turn++) {
    await put(found.certs, HOST)
    await found.store.apply(found.policy)
    seen.add(fingerprint(found))
  }
  t.is(seen.size, 3)
})

test('a watched directory is taken over by itself, and running connections keep the certificate they have', async t => {
  const found = await fixture(t)
  await put(found.certs, HOST)
  await found.store.apply(found.policy)
  found.store.watch()
  const harness = await startGate(t, {}, { certificates: found.store })
  const certificateOf = (socket: TLSSocket): string => socket.getPeerX509Certificate()?.fingerprint256 ?? ''
  const before = await connectTls(harness.port)
  await put(found.certs, HOST)
  await found.events.next('certificate.loaded', 2)
  const after = await connectTls(harness.port)
  t.not(certificateOf(after), certificateOf(before))
  before.resume()
  before.write('GET / HTTP/1.1\r\n\r\n')
  await harness.events.next('connection.closed')
  before.destroy()
  after.destroy()
  await untilIdle(harness)
})

test('the development authority makes certificates that a client which loads it accepts', async t => {
  const found = await fixture(t, { development: true })
  await found.store.apply(found.policy)
  const authorityFile = join(found.certs, 'development', 'authority.crt')
  const set = found.store.forHost(HOST)
  t.is(set?.origin, 'development')
  t.deepEqual(
    set?.certificates.map(({ keyType }) => keyType),
    ['ec', 'rsa'],
  )
  const harness = await startGate(t, {}, { certificates: found.store })
  for (const sigalgs of ['ecdsa_secp256r1_sha256', 'rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256']) {
    const client = await connectTls(harness.port, { ca: await readFile(authorityFile), sigalgs })
    t.true(client.authorized)
    client.destroy()
  }
  for (const file of ['authority.key', `${HOST}.ecdsa.key`, `${HOST}.rsa.key`]) {
    t.is((await stat(join(found.certs, 'development', file))).mode & 0o777, 0o600, file)
  }
  await untilIdle(harness)
})

test('a second start keeps the development authority and its certificates', async t => {
  const found = await fixture(t, { development: true })
  await found.store.apply(found.policy)
  const again = createDevAuthority(found.certs, () => found.nowMs)
  const before = await readFile(join(found.certs, 'development', `${HOST}.rsa.crt`), 'utf8')
  await again.filesFor(HOST)
  t.is(await readFile(join(found.certs, 'development', `${HOST}.rsa.crt`), 'utf8'), before)
  found.nowMs += 380 * DAY_MS
  await again.filesFor(HOST)
  t.not(await readFile(join(found.certs, 'development', `${HOST}.rsa.crt`), 'utf8'), before)
})

test('a configured certificate that is bad is never replaced by a development one', async t => {
  const files = { certFile: '/nonexistent/own.crt', keyFile: '/nonexistent/own.key' }
  const found = await fixture(t, { development: true, names: [name({ certificates: [files] })] })
  await found.store.apply(found.policy)
  t.is(found.store.forHost(HOST), undefined)
  t.regex(found.events.of('certificate.rejected')[0]?.problem ?? '', /cannot be read/)

  const dropped = await fixture(t, { development: true })
  await mkdir(dropped.certs, { recursive: true })
  await writeFile(join(dropped.certs, `${HOST}.crt`), randomBytes(100))
  await dropped.store.apply(dropped.policy)
  t.is(dropped.store.forHost(HOST), undefined)
})
