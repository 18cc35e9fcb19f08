// Country databases and addresses without a country, through the whole gate.
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  ask,
  client,
  GB,
  openTls,
  SE,
  startWholeGate,
  until,
  US,
  type WholeGate,
} from '../support/whole-gate.ts'
import { worldMmdb } from '../support/mmdb-writer.ts'

/** An address that every database places in the US, and that the databases of these tests move. */
const MOVED = '8.8.8.8'
const ALLOWED = 'allowed'

const world = (country: string, builtMs = Date.now()): Buffer =>
  worldMmdb('GeoLite2-Country', builtMs, code => ({ country: { iso_code: code } }), {
    entries: [['8.8.8.0/24', { country: { iso_code: country } }]],
  })

/** What an address gets: allowed, or the reason. */
async function fate(gate: WholeGate, from: string): Promise<string> {
  const before = gate.lines.of('connection.refused').length
  try {
    const socket = await openTls(gate, { from })
    socket.destroy()
    return ALLOWED
  } catch {
    await until(() => gate.lines.of('connection.refused').length > before)
    return gate.lines.of('connection.refused').at(-1)?.reason ?? ''
  }
}

function drop(gate: WholeGate, name: string, bytes: Buffer): string {
  const file = join(gate.directory, 'geoip', name)
  writeFileSync(`${file}.part`, bytes)
  renameSync(`${file}.part`, file)
  return file
}

test('trap 22: a database dropped into geoip/ takes over while the gate runs, a broken one changes nothing', async t => {
  await using gate = await startWholeGate()
  using kept = client(gate, { from: MOVED })
  t.is((await kept.ask({})).status, 200)
  t.is(await fate(gate, MOVED), ALLOWED)

  const file = drop(gate, 'GeoLite2-Country.mmdb', world('GB'))
  await gate.lines.next('geo.loaded', entry => entry.file === file)
  t.is(await fate(gate, MOVED), 'country-refused')
  t.is(await fate(gate, US), ALLOWED)
  t.is((await gate.status()).databases[0]?.file, file)

  writeFileSync(file, world('US').subarray(0, 300))
  const rejected = await gate.lines.next('geo.rejected', entry => entry.file === file)
  t.is(rejected.kept, file)
  t.is(await fate(gate, MOVED), 'country-refused')
  t.is(await fate(gate, US), ALLOWED)

  drop(gate, 'GeoLite2-Country.mmdb', world('US'))
  await until(() => gate.lines.of('geo.loaded').filter(entry => entry.file === file).length === 2)
  t.is(await fate(gate, MOVED), ALLOWED)
  t.is(gate.lines.of('gate.internal-error').length, 0)
  t.true((await gate.metric('portcullis_geo_database_age_seconds')) > 0)
})

test('an override of the policy beats the database, for new connections and for the next request of an old one', async t => {
  await using gate = await startWholeGate({ databases: { 'GeoLite2-Country.mmdb': world('GB') } })
  t.is(await fate(gate, MOVED), 'country-refused')
  const overrides = [{ address: '8.8.8.0/24', country: 'US', reason: 'the database is wrong' }]
  gate.write({ ...gate.policy, geo: { loopback: 'allow', overrides } })
  t.true((await gate.portcullis.reload('command')).ok)
  t.is(await fate(gate, MOVED), ALLOWED)
  using kept = client(gate, { from: MOVED })
  t.is((await kept.ask({})).status, 200)
  gate.write(gate.policy)
  t.true((await gate.portcullis.reload('command')).ok)
  t.is((await kept.ask({})).status, 403)
})

test('private, CGNAT, loopback and unknown addresses each have their own answer', async t => {
  await using gate = await startWholeGate()
  const sources = {
    private: ['10.1.2.3', '172.20.1.1', '192.168.7.7', 'fd00::5'],
    cgnat: ['100.64.0.1', '100.127.255.254'],
    loopback: ['127.0.0.1', '::1'],
    unknown: ['192.0.2.1'],
  } as const
  const kinds = Object.keys(sources) as (keyof typeof sources)[]
  for (const allowed of kinds) {
    const geo = Object.fromEntries(kinds.map(kind => [kind, kind === allowed ? 'allow' : 'refuse']))
    gate.write({ ...gate.policy, geo })
    t.true((await gate.portcullis.reload('command')).ok)
    for (const kind of kinds) {
      const expected = kind === allowed ? ALLOWED : kind === 'unknown' ? 'country-unknown' : 'network-refused'
      for (const from of sources[kind])
        t.is(await fate(gate, from), expected, `${from} with ${allowed} allowed`)
    }
  }
})

test('trap 46: the addresses that all databases agree on get what their country gets, IPv4-mapped ones too', async t => {
  await using gate = await startWholeGate({ policy: { home: ['US', 'SE'] } })
  t.is(await fate(gate, US), ALLOWED)
  t.is(await fate(gate, SE), ALLOWED)
  t.is(await fate(gate, GB), 'country-refused')
  t.is(await fate(gate, `::ffff:${US}`), ALLOWED)
  t.is(await fate(gate, `::ffff:${GB}`), 'country-refused')
  const answer = await ask(gate, { path: '/automate/practice/echo' }, { from: `::ffff:${US}` })
  t.is((JSON.parse(answer.text) as { source: string }).source, US)
})
