// Identities of clients: proofs that fit one TLS session only, names that stay with whoever showed them first, and the way back for a reinstalled client.
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import test, { type ExecutionContext } from 'ava'
import type { IdentityMode } from '../../src/policy/gateway-policy.ts'
import { DialError } from '../../src/tunnel/connector/dial.ts'
import { openOwnIdentity } from '../../src/tunnel/connector/own-identity.ts'
import type { IdentityClaim } from '../../src/tunnel/client-identity.ts'
import { openPinFile } from '../../src/tunnel/identity-file.ts'
import { createIdentityPins, type IdentityAnswer, type IdentityPins } from '../../src/tunnel/identity-pins.ts'
import { BUILT_IN } from '../../src/policy/source-line.ts'
import { attach, identityHeld, KEY_NAME, startTunnelGate } from './harness.ts'

const NOWHERE = { load: () => [], keep: () => undefined, drop: () => undefined }

const codeOf = async (attaching: Promise<unknown>): Promise<string> => {
  try {
    await attaching
    return 'attached'
  } catch (error) {
    if (error instanceof DialError) return error.failure.code
    throw error
  }
}

function ask(
  pins: IdentityPins,
  claim: IdentityClaim,
  more: { name?: string; key?: string; mode?: IdentityMode; named?: string; attached?: string } = {},
): IdentityAnswer {
  return pins.admit({
    key: more.key ?? 'acme',
    name: more.name ?? 'PC-17',
    claim,
    mode: more.mode ?? 'pin',
    named: more.named ?? null,
    nowMs: 0,
    isAttached: identity => identity === more.attached,
  })
}

const said = (answer: IdentityAnswer): string => (answer.ok ? (answer.note ?? 'ok') : answer.why)

test('what a name answers to whom', t => {
  const a: IdentityClaim = { text: `ed25519/${'a'.repeat(43)}`, kept: true }
  const b: IdentityClaim = { text: `ed25519/${'b'.repeat(43)}`, kept: true }
  const fresh = (claim: typeof a): IdentityClaim => ({ ...claim, kept: false })
  const rows: readonly (readonly [
    string,
    readonly IdentityClaim[],
    IdentityClaim,
    Parameters<typeof ask>[2],
    string,
  ])[] = [
    ['a client without an identity keeps a name that nobody has shown one for', [null], null, {}, 'ok'],
    ['and may be given one', [null], a, {}, 'pinned'],
    ['the first identity that lasts is binding', [a], b, {}, 'other'],
    ['for those without one, too', [a], null, {}, 'missing'],
    ['and for proofs of other connections', [a], 'invalid', {}, 'invalid'],
    ['it comes again', [a], a, {}, 'ok'],
    ['also one that says it is new', [a], fresh(a), {}, 'ok'],
    ['in any case of the name', [a], b, { name: 'pc-17' }, 'other'],
    ['another key is another client', [a], b, { key: 'branch' }, 'pinned'],
    ['another name is another client', [a], b, { name: 'PC-18' }, 'pinned'],
    ['one that was made just now binds nobody once it is gone', [fresh(a)], b, {}, 'changed'],
    ['but is not replaced while it is there', [fresh(a)], b, { attached: a.text }, 'attached'],
    ['nor by one without an identity', [fresh(a)], null, { attached: a.text }, 'attached'],
    ['with its second start it is binding', [fresh(a), a], b, {}, 'other'],
    ['an older connector may be put back before that', [fresh(a)], null, {}, 'ok'],
    ['TLS that is broken open costs the name, not the way in', [], 'invalid', {}, 'unproven'],
    ['require: nobody without', [], null, { mode: 'require' }, 'missing'],
    ['require: nor with a proof of another connection', [], 'invalid', { mode: 'require' }, 'invalid'],
    ['require: with one', [], a, { mode: 'require' }, 'pinned'],
    ['off: everybody', [a], b, { mode: 'off' }, 'ok'],
    ['the policy names the identity', [], b, { named: a.text }, 'policy'],
    ['and lets only that one in', [b], a, { named: a.text }, 'ok'],
    ['whatever the mode says', [], null, { named: a.text, mode: 'off' }, 'policy'],
  ]
  for (const [words, before, claim, more, expected] of rows) {
    const pins = createIdentityPins(NOWHERE)
    for (const earlier of before) ask(pins, earlier)
    t.is(said(ask(pins, claim, more)), expected, words)
  }
})

test('whatever comes, a binding name answers to one identity until it is forgotten', t => {
  const identities = ['a', 'b', 'c'].map(letter => `ed25519/${letter.repeat(43)}`)
  const claim = fc.oneof(
    fc.constant(null),
    fc.constant('invalid' as const),
    fc.record({ text: fc.constantFrom(...identities), kept: fc.boolean() }),
  )
  const step = fc.oneof(
    {
      weight: 9,
      arbitrary: fc.record({
        claim,
        name: fc.constantFrom('PC', 'pc'),
        attached: fc.constantFrom(...identities),
      }),
    },
    { weight: 1, arbitrary: fc.constant('forget' as const) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const pins = createIdentityPins(NOWHERE)
      for (const entry of steps) {
        const [pin] = pins.list()
        if (entry === 'forget') {
          pins.forget('PC', null)
          t.is(pins.list().length, 0)
          continue
        }
        const answer = ask(pins, entry.claim, entry)
        const shown = entry.claim === null || entry.claim === 'invalid' ? null : entry.claim.text
        if (pin?.confirmed === true) t.is(answer.ok, shown === pin.identity)
        if (pin !== undefined && shown === pin.identity) t.true(answer.ok)
        if (pin !== undefined && entry.attached === pin.identity && shown !== pin.identity) t.false(answer.ok)
        if (pin === undefined) t.true(answer.ok)
        t.true(pins.list().length <= 1)
      }
    }),
  )
})

test('who holds one key cannot use up the names of another, and nobody is turned away for lack of room', t => {
  const pins = createIdentityPins(NOWHERE, { ofKey: 2, inAll: 3 })
  const claims = ['a', 'b', 'c', 'd'].map(letter => ({ text: `ed25519/${letter.repeat(43)}`, kept: true }))
  const notes = claims.map((claim, index) => said(ask(pins, claim, { name: `PC-${index}` })))
  t.deepEqual(notes, ['pinned', 'pinned', 'full', 'full'])
  t.is(said(ask(pins, claims[3] ?? null, { name: 'PC-0' })), 'other')
  t.is(said(ask(pins, claims[3] ?? null, { key: 'branch' })), 'pinned')
  pins.forgetKey('acme')
  t.is(said(ask(pins, claims[3] ?? null, { name: 'PC-0' })), 'pinned')
})

function directory(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'portcullis-identity-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('the file: what was learned is there after a start, a torn line costs itself only, and forgetting lasts', async t => {
  const file = join(directory(t), 'client-identities.jsonl')
  const troubles: string[] = []
  const open = (): { pins: IdentityPins; settled: () => Promise<void> } => {
    const store = openPinFile(file, problem => troubles.push(problem))
    return { pins: createIdentityPins(store), settled: store.settled }
  }
  const first = open()
  const claims = Array.from({ length: 5 }, (_, index) => ({
    text: `ed25519/${String(index).repeat(43)}`,
    kept: true,
  }))
  for (const [index, claim] of claims.entries()) ask(first.pins, claim, { name: `PC-${index}` })
  first.pins.forget('pc-3', null)
  await first.settled()
  t.is(statSync(file).mode & 0o777, 0o600)
  appendFileSync(file, '{"key":"acme","name":"PC-9","ident')
  const second = open()
  const names = second.pins.list().map(({ name }) => name)
  t.deepEqual(names, ['PC-0', 'PC-1', 'PC-2', 'PC-4'])
  t.is(readFileSync(file, 'utf8').trim().split('\n').length, 4)
  t.deepEqual(troubles, [])
  writeFileSync(
    file,
    `nonsense\n{"key":"acme","name":"../x","forgotten":true}\n${readFileSync(file, 'utf8')}`,
  )
  t.is(open().pins.list().length, 4)
  t.deepEqual(troubles, ['has 2 lines that cannot be read; the others hold'])
  rmSync(file)
  t.deepEqual(open().pins.list(), [])
})

test('whoever shows one new identity after the other cannot make the file grow until it is too large to be read', async t => {
  const file = join(directory(t), 'client-identities.jsonl')
  const open = (): { pins: IdentityPins; settled: () => Promise<void> } => {
    const store = openPinFile(file, problem => t.fail(problem))
    return { pins: createIdentityPins(store), settled: store.settled }
  }
  const { pins, settled } = open()
  const made = (index: number, kept: boolean): IdentityClaim => ({
    text: `ed25519/${String(index).padStart(43, '0')}`,
    kept,
  })
  ask(pins, made(1, true), { name: 'SERVER' })
  ask(pins, made(2, true), { name: 'GONE' })
  for (let round = 0; round < 20; round++) {
    for (let index = 0; index < 50; index++) ask(pins, made(1_000 * round + index, false), { name: 'PC-17' })
    if (round === 10) pins.forget('GONE', null)
    await settled()
    t.true(readFileSync(file, 'utf8').split('\n').length <= 260, `round ${round}`)
  }
  t.is(statSync(file).mode & 0o777, 0o600)
  t.deepEqual(open().pins.list(), pins.list())
  t.deepEqual(
    pins.list().map(({ name, identity }) => `${name} ${identity.slice(-5)}`),
    ['SERVER 00001', 'PC-17 19049'],
  )
})

test('a connector makes its file once, keeps it, and stays at work when it cannot', t => {
  const folder = directory(t)
  const file = join(folder, 'connector.identity')
  const made = openOwnIdentity(file)
  const again = openOwnIdentity(file)
  t.true(made.held !== null && made.made && !made.held.kept)
  t.true(again.held !== null && !again.made && again.held.kept)
  t.is(again.held?.text, made.held?.text)
  t.is(statSync(file).mode & 0o777, 0o600)
  writeFileSync(file, 'not a key')
  t.deepEqual(openOwnIdentity(file), { held: null, problem: 'it holds no identity' })
  t.is(readFileSync(file, 'utf8'), 'not a key')
  const nowhere = openOwnIdentity(join(folder, 'missing', 'connector.identity'))
  t.regex(nowhere.problem ?? '', /cannot be made/)
  t.false(existsSync(join(folder, 'missing')))
})

test('at the gate: another holder of the key cannot take the name, by whatever he shows; the client comes again', async t => {
  const pins = createIdentityPins(NOWHERE)
  const gate = await startTunnelGate(t, { pins })
  const own = identityHeld()
  let proof = ''
  const mine = await attach(gate, {}, { held: own, onProof: made => (proof = made) })
  await mine.ready
  await gate.events.next('client.connected')
  t.is(gate.parts.registry.find(KEY_NAME, 'rmm')?.identity, own.text)
  const instance = 'another-process-0001'
  const other = (more: Parameters<typeof attach>[2], name = 'rmm'): Promise<string> =>
    codeOf(attach(gate, {}, { identity: { instance, name }, ...more }))
  t.is(await other({}), 'identity-missing')
  t.is(await other({ held: identityHeld() }), 'identity-other')
  t.is(await other({ held: identityHeld() }, 'RMM'), 'identity-other')
  // Overheard or passed on by a false gate: the proof is of another TLS session.
  t.is(await other({ proof }), 'identity-invalid')
  t.is(await other({ proof: proof.replace('kept', 'new') }), 'identity-invalid')
  t.is(await other({ proof: 'ed25519 x y kept' }), 'identity-invalid')
  t.deepEqual(
    gate.events.of('client.identity-refused').map(({ why, pinned, client }) => [why, pinned, client]),
    [
      ['missing', own.text, 'rmm'],
      ['other', own.text, 'rmm'],
      ['other', own.text, 'RMM'],
      ['invalid', own.text, 'rmm'],
      ['invalid', own.text, 'rmm'],
      ['invalid', own.text, 'rmm'],
    ],
  )
  t.is(gate.events.of('client.disconnected').length, 0)
  // Trap 32 still holds for the client itself: its next process takes over at once.
  const heir = await attach(gate, {}, { identity: { instance }, held: own })
  await heir.ready
  t.is((await mine.closed).why, 'another connector with the same name and key has attached')
  // Installed anew: refused with the step that helps, and let in after it.
  const anew = identityHeld(false)
  const again = { identity: { instance: 'reinstalled-000001' }, held: anew }
  const error = await t.throwsAsync(attach(gate, {}, again), { instanceOf: DialError })
  t.regex(error.failure.remedy, /portcullis clients forget rmm --key head-office/)
  pins.forget('rmm', KEY_NAME)
  const back = await attach(gate, {}, again)
  await back.ready
  await gate.events.next('client.connected', 3)
  t.is(gate.parts.registry.find(KEY_NAME, 'rmm')?.identity, anew.text)
  // Removing the key takes its names along.
  gate.access.remove('correct horse battery')
  t.deepEqual(pins.list(), [])
})

test('the identity of a connector that the policy names is the only one, and one key tells nothing of another', async t => {
  const own = identityHeld(false)
  const at = BUILT_IN
  const gate = await startTunnelGate(t, {
    snapshot: {
      gateway: {
        connectors: new Map([['rmm', { name: 'rmm', client: 'rmm', key: KEY_NAME, identity: own.text, at }]]),
        identity: 'off',
        attachments: 100,
        attachmentsPerSource: 100,
      },
    },
  })
  t.is(await codeOf(attach(gate, {}, { held: identityHeld() })), 'identity-policy')
  t.is(await codeOf(attach(gate, {})), 'identity-policy')
  t.is(await codeOf(attach(gate, {}, { identity: { name: 'Rmm' }, held: identityHeld() })), 'identity-policy')
  t.is(await codeOf(attach(gate, {}, { held: own })), 'attached')
  t.is(await codeOf(attach(gate, {}, { identity: { name: 'pc' } })), 'attached')
})
