// The bundled databases as they are: their answers, their agreement, and what truncating or puncturing them leads to.
import { readFile } from 'node:fs/promises'
import test from 'ava'
import { assert, nat, property } from 'fast-check'
import { bundledDatabases } from '../../src/geo/bundled.ts'
import { checkDatabase, type Database } from '../../src/geo/database-file.ts'
import { ipv4 } from '../../src/net/address.ts'

const KNOWN = [
  ['81.2.69.142', 'GB'],
  ['89.160.20.112', 'SE'],
  ['216.160.83.56', 'US'],
  ['111.235.160.1', 'CN'],
] as const

const files = bundledDatabases()
const loaded = Promise.all(
  [files.first, files.second].map(async file => {
    if (file === null) throw new Error('a bundled database is not installed')
    const bytes = await readFile(file)
    const checked = await checkDatabase(file, bytes, { nowMs: null })
    if (!checked.ok) throw new Error(checked.problem)
    return { bytes, database: checked.database }
  }),
)

async function pick(index: 0 | 1): Promise<{ bytes: Buffer; database: Database }> {
  const entry = (await loaded)[index]
  if (entry === undefined) throw new Error('not loaded')
  return entry
}

for (const index of [0, 1] as const) {
  const role = index === 0 ? 'first' : 'second'

  test(`trap 46: the ${role} bundled database knows the agreed addresses`, async t => {
    const { database } = await pick(index)
    for (const [address, expected] of KNOWN) t.is(database.countryOf(address), expected, address)
  })

  test(`the ${role} bundled database never throws, whatever the address`, async t => {
    const { database } = await pick(index)
    assert(
      property(nat(0xffffffff), word => {
        const country = database.countryOf(ipv4(word).text)
        return country === null || /^[A-Z]{2}$/.test(country)
      }),
      { numRuns: 2_000 },
    )
    t.pass()
  })

  test(`trap 22: the ${role} bundled database is refused at every truncation`, async t => {
    const { bytes } = await pick(index)
    const cuts = [1, 2, 50, 1_000, 100_000, bytes.length >> 1, bytes.length - 1]
    for (const cut of cuts) {
      const checked = await checkDatabase('x.mmdb', bytes.subarray(0, bytes.length - cut), { nowMs: null })
      t.false(checked.ok, `${cut} bytes less`)
    }
  })

  test(`trap 22: the ${role} bundled database is refused with a hole that a copy has not filled yet`, async t => {
    const { bytes } = await pick(index)
    for (const from of [0, 4096 * 300, 4096 * 1200]) {
      const holed = Buffer.from(bytes)
      holed.fill(0, from, from + 4096)
      const checked = await checkDatabase('x.mmdb', holed, { nowMs: null })
      t.false(checked.ok, `hole at ${from}`)
    }
  })
}

test('the two bundled databases agree on most of the internet', async t => {
  const [first, second] = [(await pick(0)).database, (await pick(1)).database]
  let agree = 0
  let both = 0
  for (let sample = 0; sample < 20_000; sample++) {
    const { text } = ipv4(Math.imul(sample, 0x9e3779b1))
    const [a, b] = [first.countryOf(text), second.countryOf(text)]
    if (a === null || b === null) continue
    both++
    if (a === b) agree++
  }
  t.true(both > 15_000)
  t.true(agree / both > 0.85, `${agree} of ${both}`)
})
