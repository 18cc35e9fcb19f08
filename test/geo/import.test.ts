// Importing a database: checked, atomic, named, unpacked, refused with a reason.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from 'ava'
import { importDatabase } from '../../src/geo/import.ts'
import { PortcullisError } from '../../src/policy/error.ts'
import { worldMmdb } from '../support/mmdb-writer.ts'
import { bench, country, DAY_MS, NOW_MS } from './bench-directory.ts'

const good = (rest: string, ageDays = 1): Buffer =>
  worldMmdb('DBIP-Country-Lite', NOW_MS - ageDays * DAY_MS, code => ({ country: { iso_code: code } }), {
    rest,
  })

test('an imported database is used by the running gate, byte for byte', async t => {
  const b = await bench(t)
  const lookup = await b.start()
  const source = join(b.outside, 'download.mmdb')
  await writeFile(source, good('CA'))
  const imported = await importDatabase(source, { directory: b.directory, nowMs: NOW_MS })
  t.is(imported.file, join(b.directory, 'download.mmdb'))
  t.is(imported.type, 'DBIP-Country-Lite')
  await b.reports.until('geo.loaded', fields => fields.file === imported.file)
  t.is(country(lookup, '8.8.8.8'), 'CA')
  t.deepEqual(await readFile(imported.file), good('CA'))
  t.deepEqual(await readdir(b.directory), ['download.mmdb'])
})

test('a gzipped database is unpacked, and a name that is no file name of ours comes from the type', async t => {
  const b = await bench(t)
  await b.start()
  const source = join(b.outside, 'dbip-country-lite-2026-06.mmdb.gz')
  await writeFile(source, gzipSync(good('CA')))
  const imported = await importDatabase(source, { directory: b.directory, nowMs: NOW_MS })
  t.is(imported.file, join(b.directory, 'dbip-country-lite-2026-06.mmdb'))
  const odd = join(b.outside, '.odd name')
  await writeFile(odd, good('CA'))
  const named = await importDatabase(odd, { directory: b.directory, nowMs: NOW_MS })
  t.is(named.file, join(b.directory, 'DBIP-Country-Lite.mmdb'))
})

test('an import can choose the database by hand', async t => {
  const b = await bench(t)
  await b.start()
  const source = join(b.outside, 'old.mmdb')
  await writeFile(source, good('CA', 900))
  for (const as of ['first', 'second'] as const) {
    const imported = await importDatabase(source, { directory: b.directory, nowMs: NOW_MS, as })
    t.is(imported.file, join(b.directory, `${as}.mmdb`))
  }
})

test('an unfit file is refused, and nothing is written', async t => {
  const b = await bench(t)
  await b.start()
  for (const [name, bytes, problem] of [
    ['short.mmdb', good('CA').subarray(0, 500), /truncated/],
    ['bad.mmdb.gz', gzipSync(good('CA')).subarray(0, 100), /cannot be unpacked/],
    ['empty.mmdb', Buffer.alloc(0), /is empty/],
  ] as const) {
    const source = join(b.outside, name)
    await writeFile(source, bytes)
    const error = await t.throwsAsync(importDatabase(source, { directory: b.directory, nowMs: NOW_MS }), {
      instanceOf: PortcullisError,
      message: problem,
    })
    t.is(error?.code, 'geo-import-refused')
  }
  t.deepEqual(await readdir(b.directory), [])
})

test('a directory that cannot be written to is said so', async t => {
  const b = await bench(t)
  const source = join(b.outside, 'good.mmdb')
  await writeFile(source, good('CA'))
  const options = { directory: join(b.outside, 'missing'), nowMs: NOW_MS }
  const error = await t.throwsAsync(importDatabase(source, options), { instanceOf: PortcullisError })
  t.is(error?.code, 'geo-import-failed')
})
