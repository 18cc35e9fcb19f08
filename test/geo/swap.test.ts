// Dropping databases into a running gate: what takes over, what is kept, and what is reported. All of trap 22.
import { execFile } from 'node:child_process'
import {
  appendFile,
  copyFile,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { promisify } from 'node:util'
import test from 'ava'
import { bundledDatabases } from '../../src/geo/bundled.ts'
import { worldMmdb, type MmdbValue } from '../support/mmdb-writer.ts'
import { ask, bench, country, DAY_MS, NOW_MS, type Bench } from './bench-directory.ts'

const run = promisify(execFile)
const maxmind = (code: string): MmdbValue => ({ country: { iso_code: code } })
const flat = (code: string): MmdbValue => ({ country_code: code })

/** Bytes of a database in which all of the internet but the known addresses is in one country. */
function world(rest: string, ageDays: number, type = 'GeoLite2-Country'): Buffer {
  return worldMmdb(type, NOW_MS - ageDays * DAY_MS, type.startsWith('country') ? flat : maxmind, { rest })
}

/** Moves a finished file into place, as geoipupdate and our own import do. */
async function drop(b: Bench, name: string, bytes: Buffer): Promise<string> {
  const temporary = join(b.outside, `${name}.part`)
  await writeFile(temporary, bytes)
  const path = join(b.directory, name)
  await rename(temporary, path)
  return path
}

/** Writes databases that play the bundled ones. */
async function bundledWorlds(b: Bench): Promise<{ first: string; second: string }> {
  const first = join(b.outside, 'bundled-first.mmdb')
  const second = join(b.outside, 'bundled-second.mmdb')
  await writeFile(first, world('US', 20, 'country ipvAll'))
  await writeFile(second, world('US', 25, 'country ipvAll'))
  return { first, second }
}

test('the real bundled databases serve when nothing is dropped', async t => {
  const b = await bench(t)
  const lookup = await b.start(bundledDatabases())
  t.deepEqual(ask(lookup, '81.2.69.142'), { scope: 'public', country: 'GB', second: 'GB', available: true })
  t.deepEqual(
    lookup.databases().map(state => state.role),
    ['first', 'second'],
  )
  t.deepEqual(b.reports.of('geo.rejected'), [])
})

test('only public addresses are looked up', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  for (const [address, scope] of [
    ['10.1.2.3', 'private'],
    ['100.64.0.1', 'cgnat'],
    ['127.0.0.1', 'loopback'],
    ['169.254.1.1', 'link-local'],
    ['240.0.0.1', 'reserved'],
    ['fd00::1', 'private'],
  ] as const) {
    t.deepEqual(ask(lookup, address), { scope, country: null, second: null, available: true })
  }
})

test('an IPv6 address does not borrow the country of the IPv4 address in its last bits', async t => {
  const b = await bench(t)
  const lookup = await b.start(bundledDatabases())
  t.is(country(lookup, '::ffff:81.2.69.142'), 'GB')
  t.deepEqual(ask(lookup, '::81.2.69.142'), {
    scope: 'reserved',
    country: null,
    second: null,
    available: true,
  })
})

test('with no database at all, answers say so', async t => {
  const b = await bench(t)
  const lookup = await b.start({ first: join(b.outside, 'missing.mmdb') })
  t.deepEqual(ask(lookup, '8.8.8.8'), { scope: 'public', country: null, second: null, available: false })
  t.false(ask(lookup, '10.0.0.1').available)
  t.deepEqual(lookup.databases(), [])
  t.regex(b.reports.of('geo.rejected')[0]?.problem ?? '', /cannot be read \(ENOENT\)/)
})

test('a dropped MaxMind database takes over without restart, and cached answers go', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  t.is(country(lookup, '8.8.8.8'), 'US')
  const file = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === file)
  t.deepEqual(ask(lookup, '8.8.8.8'), { scope: 'public', country: 'CA', second: 'US', available: true })
  t.is(lookup.databases()[0]?.type, 'GeoLite2-Country')
})

test('trap 22: a half-written copy of the real database crashes nothing, and the finished one takes over', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const real = await readFile(bundledDatabases().second ?? '')
  const path = join(b.directory, 'dbip-country.mmdb')
  await writeFile(path, real.subarray(0, real.length >> 1))
  const rejected = await b.reports.until('geo.rejected', fields => fields.file === path)
  t.regex(rejected.problem, /truncated/)
  t.is(rejected.kept, lookup.databases()[0]?.file ?? '')
  t.is(country(lookup, '8.8.8.8'), 'US')
  // Built on 1 June 2026, before the bundled one of this test: chosen by name so that only the copying is at stake.
  await rm(path)
  const chosen = join(b.directory, 'first.mmdb')
  await writeFile(chosen, real.subarray(0, 3_000_000))
  await appendFile(chosen, real.subarray(3_000_000, 6_000_000))
  await appendFile(chosen, real.subarray(6_000_000))
  await b.reports.until('geo.loaded', fields => fields.file === chosen)
  t.is(country(lookup, '89.160.20.112'), 'SE')
})

test('trap 22: overwriting the loaded file in place keeps the last good database until the new one is whole', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const path = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  const next = world('MX', 1)
  const handle = await open(path, 'w')
  await handle.write(next.subarray(0, 100))
  await b.reports.until('geo.rejected', fields => fields.file === path)
  t.is(country(lookup, '8.8.8.8'), 'CA')
  t.is(lookup.databases()[0]?.file, path)
  await handle.write(next.subarray(100))
  await handle.close()
  await b.reports.until('geo.loaded', fields => fields.file === path && fields.builtMs === NOW_MS - DAY_MS)
  t.is(country(lookup, '8.8.8.8'), 'MX')
})

test('a bad file is reported once, and again when somebody asks', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const path = join(b.directory, 'bad.mmdb')
  await writeFile(path, 'not a database')
  await b.reports.until('geo.rejected', fields => fields.file === path)
  const file = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === file)
  t.is(b.reports.of('geo.rejected').filter(fields => fields.file === path).length, 1)
  await lookup.reload()
  t.is(b.reports.of('geo.rejected').filter(fields => fields.file === path).length, 2)
})

const UNFIT: readonly (readonly [string, Buffer, RegExp])[] = [
  ['an empty file', Buffer.alloc(0), /is empty/],
  ['garbage', Buffer.alloc(50_000, 7), /no MaxMind DB metadata/],
  [
    'an ASN database',
    worldMmdb('GeoLite2-ASN', NOW_MS, () => ({ autonomous_system_number: 1 })),
    /no countries/,
  ],
]
for (const [what, bytes, problem] of UNFIT) {
  test(`${what} in the directory at start leaves the bundled database in charge`, async t => {
    const b = await bench(t)
    await mkdir(b.directory)
    await writeFile(join(b.directory, 'GeoLite2-Country.mmdb'), bytes)
    const lookup = await b.start(await bundledWorlds(b))
    t.is(country(lookup, '8.8.8.8'), 'US')
    t.regex(b.reports.of('geo.rejected')[0]?.problem ?? '', problem)
  })
}

test('a named pipe and a directory with a database name hold nothing up', async t => {
  const b = await bench(t)
  await mkdir(join(b.directory, 'dir.mmdb'), { recursive: true })
  await run('mkfifo', [join(b.directory, 'pipe.mmdb')])
  const lookup = await b.start(await bundledWorlds(b))
  t.is(country(lookup, '8.8.8.8'), 'US')
  t.deepEqual(
    b.reports.of('geo.rejected').map(fields => fields.problem),
    ['it is not a regular file', 'it is not a regular file'],
  )
})

test('a symbolic link is followed; a dangling one is rejected', async t => {
  const b = await bench(t)
  await mkdir(b.directory)
  await writeFile(join(b.outside, 'elsewhere'), world('CA', 2))
  await symlink(join(b.outside, 'elsewhere'), join(b.directory, 'linked.mmdb'))
  await symlink(join(b.outside, 'nowhere'), join(b.directory, 'dangling.mmdb'))
  const lookup = await b.start(await bundledWorlds(b))
  t.is(country(lookup, '8.8.8.8'), 'CA')
  t.deepEqual(
    b.reports.of('geo.rejected').map(fields => fields.file),
    [join(b.directory, 'dangling.mmdb')],
  )
})

test('several databases: known makers first, then the newest build, the same live and after a restart', async t => {
  const b = await bench(t)
  const bundled = await bundledWorlds(b)
  const lookup = await b.start(bundled)
  await drop(b, 'a.mmdb', world('BR', 0, 'country ipvAll'))
  await drop(b, 'b.mmdb', world('MX', 6, 'GeoIP2-City'))
  const newest = await drop(b, 'c.mmdb', world('CA', 3, 'DBIP-Country-Lite'))
  await b.reports.until('geo.loaded', fields => fields.file === newest)
  await lookup.reload()
  t.is(lookup.databases()[0]?.file, newest)
  const again = await b.start(bundled)
  t.is(again.databases()[0]?.file, newest)
  // A DB-IP database in the first role makes the other bundled database the second opinion.
  t.is(again.databases()[1]?.file, bundled.first)
})

test('status can tell which files are used and what is wrong with the others', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  await drop(b, 'a.mmdb', world('CA', 2))
  await drop(b, 'b.mmdb', world('CA', 9))
  await drop(b, 'c.mmdb', Buffer.from('garbage'))
  await drop(b, 'second.mmdb', world('MX', 90))
  await lookup.reload()
  const at = (name: string): string => join(b.directory, name)
  t.deepEqual(
    lookup.files().map(({ file, role }) => [file, role]),
    [
      [at('a.mmdb'), 'first'],
      [at('b.mmdb'), null],
      [at('c.mmdb'), null],
      [at('second.mmdb'), 'second'],
    ],
  )
  t.deepEqual(
    lookup.files().map(({ problem }) => problem === null),
    [true, true, false, true],
  )
})

test('a newly dropped database that comes second is said to be unused', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const first = await drop(b, 'new.mmdb', world('CA', 1))
  await b.reports.until('geo.loaded', fields => fields.file === first)
  const older = await drop(b, 'older.mmdb', world('MX', 5))
  const { problem } = await b.reports.until('geo.rejected', fields => fields.file === older)
  t.regex(problem, /comes before it; to use it, name it first\.mmdb/)
  t.is(lookup.databases()[0]?.file, first)
})

test('a database older than the bundled one is rejected unless it is chosen by its name', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const old = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 100))
  const { problem } = await b.reports.until('geo.rejected', fields => fields.file === old)
  t.regex(problem, /before the bundled database .* name it first\.mmdb/)
  t.is(country(lookup, '8.8.8.8'), 'US')
  const chosen = join(b.directory, 'first.mmdb')
  await rename(old, chosen)
  await b.reports.until('geo.loaded', fields => fields.file === chosen)
  t.is(country(lookup, '8.8.8.8'), 'CA')
})

test('replacing the loaded file with an older build keeps the loaded one, reload after reload', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const path = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  await drop(b, 'GeoLite2-Country.mmdb', world('MX', 10))
  const { problem } = await b.reports.until('geo.rejected', fields => fields.file === path)
  t.regex(problem, /before the loaded database/)
  await lookup.reload()
  await lookup.reload()
  t.is(country(lookup, '8.8.8.8'), 'CA')
})

test('removing the file falls back to the bundled database', async t => {
  const b = await bench(t)
  const bundled = await bundledWorlds(b)
  const lookup = await b.start(bundled)
  const path = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  await unlink(path)
  const loads = (): number =>
    b.reports.of('geo.loaded').filter(fields => fields.file === bundled.first && fields.role === 'first')
      .length
  await b.reports.until('geo.loaded', () => loads() === 2)
  t.is(country(lookup, '8.8.8.8'), 'US')
})

test('removing the file keeps the loaded database when nothing else is left', async t => {
  const b = await bench(t)
  const lookup = await b.start()
  const path = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  await unlink(path)
  await lookup.reload()
  t.is(country(lookup, '8.8.8.8'), 'CA')
})

test('a directory that disappears is no order to change countries', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const path = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  await rename(b.directory, join(b.outside, 'unmounted'))
  await lookup.reload()
  t.is(country(lookup, '8.8.8.8'), 'CA')
  t.true(
    b.reports
      .of('geo.rejected')
      .some(fields => fields.file === b.directory && /cannot be listed/.test(fields.problem)),
  )
})

test('a directory that comes back under the same name is watched again after a reload', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  await rename(b.directory, join(b.outside, 'old'))
  await mkdir(b.directory)
  await lookup.reload()
  const path = await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  t.is(country(lookup, '8.8.8.8'), 'CA')
})

test('a file that was bad, then good, then bad in the same way is reported again', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const path = join(b.directory, 'x.mmdb')
  const rejections = (): number => b.reports.of('geo.rejected').filter(fields => fields.file === path).length
  await writeFile(path, 'bad')
  await b.reports.until('geo.rejected', () => rejections() === 1)
  await drop(b, 'x.mmdb', world('CA', 2))
  await b.reports.until('geo.loaded', fields => fields.file === path)
  await writeFile(path, 'bad')
  await b.reports.until('geo.rejected', () => rejections() === 2)
  t.is(country(lookup, '8.8.8.8'), 'CA')
})

test('second.mmdb is the second opinion', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  const path = await drop(b, 'second.mmdb', world('MX', 300))
  await b.reports.until('geo.loaded', fields => fields.file === path && fields.role === 'second')
  t.deepEqual(ask(lookup, '8.8.8.8'), { scope: 'public', country: 'US', second: 'MX', available: true })
})

test('a broken bundled first database lets the second serve', async t => {
  const b = await bench(t)
  const bundled = await bundledWorlds(b)
  await writeFile(bundled.first, 'broken')
  const lookup = await b.start(bundled)
  t.is(lookup.databases()[0]?.file, bundled.second)
  t.is(lookup.databases().length, 1)
  t.is(country(lookup, '8.8.8.8'), 'US')
})

test('a wrong clock does not take the bundled databases away', async t => {
  const b = await bench(t)
  b.clock.nowMs = 0
  const lookup = await b.start(await bundledWorlds(b))
  t.is(country(lookup, '8.8.8.8'), 'US')
})

test('disagreement is reported once a day per address, and at most 30 times a minute', async t => {
  const b = await bench(t)
  const bundled = await bundledWorlds(b)
  await writeFile(bundled.second, world('MX', 25, 'country ipvAll'))
  const lookup = await b.start(bundled)
  ask(lookup, '8.8.8.8')
  await lookup.reload()
  ask(lookup, '8.8.8.8')
  t.deepEqual(b.reports.of('geo.disagreement'), [{ address: '8.8.8.8', first: 'US', second: 'MX' }])
  for (let host = 1; host < 200; host++) ask(lookup, `9.9.9.${host}`)
  t.is(b.reports.of('geo.disagreement').length, 30)
  b.clock.nowMs += 60_000
  ask(lookup, '9.9.8.1')
  t.is(b.reports.of('geo.disagreement').length, 31)
  ask(lookup, '81.2.69.142')
  t.is(b.reports.of('geo.disagreement').length, 31)
})

test('a stale database is reported daily, a fresh one never', async t => {
  const b = await bench(t)
  const bundled = await bundledWorlds(b)
  await writeFile(bundled.second, world('US', 46, 'country ipvAll'))
  const lookup = await b.start(bundled)
  await lookup.reload()
  t.deepEqual(b.reports.of('geo.stale'), [{ file: bundled.second, ageDays: 46 }])
  b.clock.nowMs += DAY_MS
  await lookup.reload()
  await lookup.reload()
  t.deepEqual(
    b.reports.of('geo.stale').map(fields => fields.ageDays),
    [46, 47],
  )
})

test('after close, dropped files change nothing and look-ups go on', async t => {
  const b = await bench(t)
  const lookup = await b.start(await bundledWorlds(b))
  lookup.close()
  await drop(b, 'GeoLite2-Country.mmdb', world('CA', 2))
  await lookup.reload()
  t.is(country(lookup, '8.8.8.8'), 'US')
})

test('look-ups go on with one of the two databases at every moment of fifty swaps', async t => {
  const b = await bench(t)
  const bundled = await bundledWorlds(b)
  const lookup = await b.start(bundled)
  const versions = [world('CA', 2), world('MX', 2)]
  const seen = new Set<string | null>()
  const watching = new AbortController()
  const watched = (async () => {
    while (!watching.signal.aborted) {
      seen.add(country(lookup, '8.8.8.8'))
      await nextTurn()
    }
  })()
  for (let swap = 0; swap < 50; swap++) {
    await drop(b, 'GeoLite2-Country.mmdb', versions[swap % 2] ?? Buffer.alloc(0))
    await lookup.reload()
  }
  watching.abort()
  await watched
  t.deepEqual(seen, new Set(['US', 'CA', 'MX']))
  t.deepEqual(b.reports.of('geo.rejected'), [])
})

test('copying the real database with cp while it is watched ends with it loaded', async t => {
  const b = await bench(t)
  const lookup = await b.start()
  const path = join(b.directory, 'dbip-country.mmdb')
  await copyFile(bundledDatabases().second ?? '', path)
  await b.reports.until('geo.loaded', fields => fields.file === path)
  t.is(country(lookup, '216.160.83.56'), 'US')
})
