// Record shapes of all makers, and the database checks against files of each kind.
import test from 'ava'
import { array, assert, asyncProperty, nat, tuple } from 'fast-check'
import { checkDatabase } from '../../src/geo/database-file.ts'
import { countryOfRecord } from '../../src/geo/record.ts'
import { worldMmdb, writeMmdb, type MmdbValue } from '../support/mmdb-writer.ts'
import { NOW_MS } from './bench-directory.ts'

const builtMs = NOW_MS - 5 * 86_400_000
const maxmind = (code: string): MmdbValue => ({
  continent: { code: 'EU', names: { en: 'Europe' } },
  country: { iso_code: code, geoname_id: 1, names: { en: code, de: code } },
  registered_country: { iso_code: 'DE', geoname_id: 2 },
})
const flat = (code: string): MmdbValue => ({ country_code: code })

test('the country of location is preferred over the country of registration', t => {
  t.is(countryOfRecord({ country: { iso_code: 'FR' }, registered_country: { iso_code: 'DE' } }), 'FR')
  t.is(countryOfRecord({ registered_country: { iso_code: 'DE' } }), 'DE')
  t.is(countryOfRecord({ country: {}, registered_country: { iso_code: 'DE' } }), 'DE')
  t.is(countryOfRecord({ country_code: 'US', registered_country: { iso_code: 'DE' } }), 'US')
  t.is(countryOfRecord({ country: 'CA' }), 'CA')
  t.is(countryOfRecord({ represented_country: { iso_code: 'US' } }), null)
  t.is(countryOfRecord({ continent: { code: 'EU' } }), null)
})

test('NO is Norway, lower case is understood, and codes for "nowhere" are no country', t => {
  t.is(countryOfRecord({ country_code: 'NO' }), 'NO')
  t.is(countryOfRecord({ country_code: 'no' }), 'NO')
  for (const code of ['ZZ', 'EU', 'AP', 'A1', 'O1', '', 'USA', '??', 7, null]) {
    t.is(countryOfRecord({ country_code: code }), null, String(code))
  }
  for (const record of [null, undefined, 'US', 4, []]) t.is(countryOfRecord(record), null)
})

const KINDS = [
  ['GeoLite2-Country', maxmind],
  [
    'GeoIP2-City',
    code => ({
      city: { names: { en: 'x' } },
      location: { accuracy_radius: 5 },
      ...(maxmind(code) as object),
    }),
  ],
  ['DBIP-Country-Lite', maxmind],
  ['country ipvAll', flat],
  ['ipinfo generic_country_free.mmdb', code => ({ country: code, continent: 'EU' })],
] as const satisfies readonly (readonly [string, (code: string) => MmdbValue])[]

for (const [type, shape] of KINDS) {
  for (const recordSize of [24, 28, 32] as const) {
    test(`a ${type} database with ${recordSize}-bit records is read`, async t => {
      const bytes = worldMmdb(type, builtMs, shape, { recordSize, entries: [['2001:db8::/32', shape('JP')]] })
      const checked = await checkDatabase('x.mmdb', bytes, { nowMs: NOW_MS })
      if (!checked.ok) return t.fail(checked.problem)
      t.is(checked.database.type, type)
      t.is(checked.database.builtMs, builtMs)
      t.is(checked.database.countryOf('81.2.69.142'), 'GB')
      t.is(checked.database.countryOf('8.8.8.8'), 'US')
      t.is(checked.database.countryOf('2001:db8::7'), 'JP')
      t.is(checked.database.countryOf('2a00::1'), null)
    })
  }
}

test('an IPv4-only database answers null for IPv6 addresses', async t => {
  const bytes = worldMmdb('GeoLite2-Country', builtMs, maxmind, { ipVersion: 4 })
  const checked = await checkDatabase('x.mmdb', bytes, { nowMs: NOW_MS })
  if (!checked.ok) return t.fail(checked.problem)
  t.is(checked.database.countryOf('89.160.20.112'), 'SE')
  t.is(checked.database.countryOf('2001:db8::1'), null)
})

const REFUSED: readonly (readonly [string, Buffer, RegExp])[] = [
  [
    'an ASN database',
    worldMmdb('GeoLite2-ASN', builtMs, code => ({ autonomous_system_organization: code })),
    /type is "GeoLite2-ASN", which has no countries/,
  ],
  [
    'a database that calls itself Country without countries',
    worldMmdb('GeoLite2-Country', builtMs, code => ({ autonomous_system_organization: code })),
    /no country for 81\.2\.69\.142/,
  ],
  [
    'one that answers wrongly',
    worldMmdb('Foo-Country', builtMs, () => flat('FR')),
    /answers are wrong: 81\.2\.69\.142 is FR, not GB/,
  ],
  [
    'one that covers little of the internet',
    writeMmdb({
      type: 'GeoLite2-Country',
      builtMs,
      entries: [
        ['81.2.69.0/24', flat('GB')],
        ['89.160.20.0/24', flat('SE')],
        ['216.160.83.0/24', flat('US')],
        ['111.235.160.0/24', flat('CN')],
      ],
    }),
    /country for only 0 % of public IPv4/,
  ],
  ['one from the future', worldMmdb('GeoLite2-Country', NOW_MS + 30 * 86_400_000, flat), /in the future/],
  [
    'one from before the format',
    worldMmdb('GeoLite2-Country', 0, flat),
    /build date is missing or before 2013/,
  ],
  ['garbage', Buffer.alloc(100_000, 'garbage '), /no MaxMind DB metadata/],
  ['a gzip file', Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]), /gzip-compressed/],
]

for (const [what, bytes, problem] of REFUSED) {
  test(`${what} is refused with its reason`, async t => {
    const checked = await checkDatabase('x.mmdb', bytes, { nowMs: NOW_MS })
    t.false(checked.ok)
    if (!checked.ok) t.regex(checked.problem, problem)
  })
}

test('a loop of pointers in the data section is a refusal, not a hang', async t => {
  const bytes = worldMmdb('GeoLite2-Country', builtMs, flat)
  const looped = Buffer.from(bytes)
  const data = bytes.indexOf(Buffer.alloc(16)) + 16
  // Every record becomes a pointer to the start of the data section, which is such a pointer itself.
  const end = bytes.lastIndexOf(Buffer.from('abcdef', 'hex'))
  for (let at = data; at + 1 < end; at += 2) looped.writeUInt16BE(0x2000, at)
  const checked = await checkDatabase('x.mmdb', looped, { nowMs: NOW_MS })
  t.false(checked.ok)
})

test('metadata that claims an absurd tree is refused', async t => {
  const bytes = worldMmdb('GeoLite2-Country', builtMs, flat)
  const at = bytes.lastIndexOf(Buffer.from('node_count'))
  const claimed = Buffer.from(bytes)
  claimed.writeUInt32BE(0xfffffff0, at + 'node_count'.length + 1)
  const checked = await checkDatabase('x.mmdb', claimed, { nowMs: NOW_MS })
  t.false(checked.ok)
})

test('trap 22: every truncation of a database is refused', async t => {
  const bytes = worldMmdb('GeoLite2-Country', builtMs, maxmind)
  for (let length = 0; length < bytes.length; length++) {
    const checked = await checkDatabase('x.mmdb', bytes.subarray(0, length), { nowMs: NOW_MS })
    if (checked.ok) return t.fail(`${length} of ${bytes.length} bytes were accepted`)
  }
  t.true((await checkDatabase('x.mmdb', bytes, { nowMs: NOW_MS })).ok)
})

test('damage anywhere in a database never makes the check throw', async t => {
  const bytes = worldMmdb('GeoLite2-Country', builtMs, maxmind)
  const damage = array(tuple(nat(bytes.length - 1), nat(255)), { minLength: 1, maxLength: 8 })
  await assert(
    asyncProperty(damage, async changes => {
      const damaged = Buffer.from(bytes)
      for (const [at, value] of changes) damaged[at] = value
      const checked = await checkDatabase('x.mmdb', damaged, { nowMs: NOW_MS })
      if (checked.ok) checked.database.countryOf('81.2.69.142')
    }),
    { numRuns: 150 },
  )
  t.pass()
})
