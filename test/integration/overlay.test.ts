// Bans and allows that operators set while the gate runs: effect on new and on live connections, order, expiry, scope.
import test from 'ava'
import type { OverlayEntry } from '../../src/journal/store-overlay.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import { ask, client, GB, openTls, startWholeGate, US, type WholeGate } from '../support/whole-gate.ts'

const HOUR_MS = 3_600_000

type Wish = {
  readonly kind: 'ban' | 'allow'
  readonly range: string
  readonly classes?: readonly TrafficClass[]
  readonly createdMs?: number
  readonly expiresMs?: number
}

function put(gate: WholeGate, { kind, range, classes, createdMs, expiresMs }: Wish): Promise<unknown> {
  return gate.admin('POST', '/v1/overlay', {
    kind,
    range,
    classes: classes ?? null,
    reason: 'a test',
    owner: 'jane',
    createdMs: createdMs ?? Date.now(),
    expiresMs: expiresMs ?? null,
  })
}

const lift = (gate: WholeGate, kind: 'ban' | 'allow', range: string): Promise<unknown> =>
  gate.admin('DELETE', '/v1/overlay', { kind, range, owner: 'jane' })

test('a ban acts at once on new connections and on the next request of a kept one; lifting it acts at once, too', async t => {
  await using gate = await startWholeGate()
  using kept = client(gate)
  t.is((await kept.ask({})).status, 200)
  await put(gate, { kind: 'ban', range: US })
  await t.throwsAsync(openTls(gate), { message: /access denied/ })
  const refused = await kept.ask({})
  t.is(refused.status, 403)
  t.regex(refused.text, /banned/)
  t.is((await gate.lines.next('request.refused')).reason, 'banned')
  t.is((await gate.lines.next('ban.added')).range, `${US}/32`)
  t.is(await gate.metric('portcullis_overlay_entries', { kind: 'ban' }), 1)
  // Others are not touched.
  t.is((await ask(gate, {}, { from: '216.160.83.57' })).status, 200)
  await lift(gate, 'ban', US)
  t.is((await ask(gate)).status, 200)
  t.is((await gate.lines.next('ban.removed')).why, 'taken back')
})

test('a ban and an allow end when their time is over', async t => {
  let aheadMs = 0
  await using gate = await startWholeGate({ clock: () => Date.now() + aheadMs })
  const expiresMs = Date.now() + HOUR_MS
  await put(gate, { kind: 'ban', range: '216.160.83.0/24', expiresMs })
  await put(gate, { kind: 'allow', range: GB, expiresMs })
  using british = client(gate, { from: GB })
  t.is((await british.ask({})).status, 200)
  await t.throwsAsync(openTls(gate))
  aheadMs = HOUR_MS + 1_000
  t.is((await ask(gate)).status, 200)
  await t.throwsAsync(openTls(gate, { from: GB }))
})

test('trap 25: an allow beats a ban and the country at once, and rules hold for allowed sources all the same', async t => {
  await using gate = await startWholeGate()
  await put(gate, { kind: 'ban', range: `${GB}/32` })
  await put(gate, { kind: 'ban', range: '81.2.69.0/24' })
  await t.throwsAsync(openTls(gate, { from: GB }))
  await put(gate, { kind: 'allow', range: GB })
  t.is((await ask(gate, {}, { from: GB })).status, 200)
  const attack = await ask(gate, { path: '/automate?file=../../windows/win.ini' }, { from: GB })
  t.is(attack.status, 403)
  t.is((await gate.lines.next('request.refused')).reason, 'rule')
  await t.throwsAsync(openTls(gate, { from: '81.2.69.143' }), undefined, 'the neighbour stays banned')
  const listed = (await gate.admin('GET', '/v1/overlay')) as { readonly entries: readonly OverlayEntry[] }
  t.is(listed.entries.length, 3)
})

test('a ban of some classes leaves the others open, for a site behind one address', async t => {
  await using gate = await startWholeGate({
    policy: { sites: { acme: { name: 'Acme Dental', addresses: [US] } } },
  })
  await put(gate, { kind: 'ban', range: US, classes: ['console', 'api'] })
  using kept = client(gate)
  t.is((await kept.ask({})).status, 200, 'its agents go on')
  t.is((await kept.ask({ path: '/automate' })).status, 403)
  t.is((await kept.ask({})).status, 200)
  await put(gate, { kind: 'ban', range: US })
  await t.throwsAsync(openTls(gate))
  const refused = await gate.lines.next('connection.refused')
  t.like(refused, { reason: 'banned', site: 'acme' })
})

test('bans and allows survive a restart of the gate', async t => {
  await using gate = await startWholeGate()
  await put(gate, { kind: 'ban', range: US })
  await gate.portcullis.stop()
  const { openStore } = await import('../../src/journal/store.ts')
  const { storeFile } = await import('../../src/journal/store-file.ts')
  const { journal, directories } = gate.portcullis.snapshot()
  const store = await openStore({
    file: storeFile(directories.state),
    retention: journal,
    clock: Date.now,
    ledger: null,
  })
  const entries = await store.call('overlayEntries')
  await store.close()
  t.deepEqual(
    entries.map(({ kind, range }) => [kind, range]),
    [['ban', `${US}/32`]],
  )
})

test('bans that are set while policies are taken put no old policy back into force', async t => {
  await using gate = await startWholeGate()
  const stop = new AbortController()
  const banOnAndOn = async (network: number): Promise<number> => {
    let count = 0
    for (; !stop.signal.aborted; count++) {
      await gate.admin('POST', '/v1/overlay', {
        kind: 'ban',
        range: `198.51.${network}.${count % 256}`,
        classes: null,
        reason: 'a test',
        owner: 'jane',
        createdMs: Date.now(),
        expiresMs: null,
      })
    }
    return Math.min(count, 256)
  }
  const banning = [100, 101, 102].map(banOnAndOn)
  for (let round = 0; round < 10; round++) {
    gate.write({ ...gate.policy, home: round % 2 === 0 ? ['US', 'SE'] : ['US'] })
    const result = await gate.portcullis.reload('file')
    t.true(result.ok)
    // Whatever was under way when the policy was swapped has ended after another ban.
    await gate.admin('POST', '/v1/flush')
    await gate.admin('GET', '/v1/overlay')
    t.is(gate.portcullis.snapshot().id, result.ok ? result.id : '', `round ${round}`)
  }
  stop.abort()
  const counts = await Promise.all(banning)
  const all = counts.reduce((sum, count) => sum + count, 0)
  t.is(await gate.metric('portcullis_overlay_entries', { kind: 'ban' }), all)
})
