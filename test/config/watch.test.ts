// The policy watch: editors' ways of saving, half-written files, new and replaced folders; one report per settled change.
import {
  mkdirSync,
  openSync,
  closeSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { watchPolicy } from '../../src/config/watch.ts'
import { GOOD_POLICY, GOOD_PROFILE, load, policyDirectory } from './support.ts'

type Watching = {
  readonly changed: () => Promise<void>
  readonly count: () => number
  readonly problems: readonly string[]
  readonly refresh: () => void
}

function watching(t: ExecutionContext, directory: string, extraFiles: readonly string[] = []): Watching {
  let count = 0
  let seen = 0
  let wake: (() => void) | undefined
  const problems: string[] = []
  const watch = watchPolicy({
    directory,
    file: 'portcullis.yaml',
    extraFiles: () => extraFiles,
    settleMs: 40,
    onChange: () => {
      count++
      wake?.()
    },
    onProblem: problem => problems.push(problem),
  })
  t.teardown(() => watch.close())
  return {
    problems,
    refresh: watch.refresh,
    count: () => count,
    async changed() {
      if (count === seen) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      seen = count
    },
  }
}

const CHANGED = `${GOOD_POLICY}# changed\n`

test('a file written in place is reported once, however many writes it took', async t => {
  const directory = policyDirectory(t)
  const watch = watching(t, directory)
  const file = openSync(join(directory, 'portcullis.yaml'), 'w')
  for (const line of CHANGED.split(/(?<=\n)/)) writeSync(file, line)
  closeSync(file)
  await watch.changed()
  t.is(watch.count(), 1)
  const result = load(directory)
  t.true(result.ok)
})

test('an editor that writes a new file and renames it over the old one is noticed, also the second time', async t => {
  const directory = policyDirectory(t)
  const watch = watching(t, directory)
  for (const round of [1, 2, 3]) {
    writeFileSync(join(directory, '.portcullis.yaml.swp'), `${GOOD_POLICY}# ${round}\n`)
    renameSync(join(directory, '.portcullis.yaml.swp'), join(directory, 'portcullis.yaml'))
    await watch.changed()
  }
  t.is(watch.count(), 3)
})

test('a touched file with the same content is no change; the next real change is', async t => {
  const directory = policyDirectory(t)
  const watch = watching(t, directory)
  const file = join(directory, 'portcullis.yaml')
  utimesSync(file, new Date(), new Date())
  writeFileSync(file, GOOD_POLICY)
  writeFileSync(join(directory, 'notes.txt'), 'not a policy file')
  writeFileSync(join(directory, 'profiles/tiny.yaml'), `${GOOD_PROFILE}# changed\n`)
  await watch.changed()
  t.is(watch.count(), 1)
})

test('profiles and rules count: changed, new and removed files', async t => {
  const directory = policyDirectory(t)
  const watch = watching(t, directory)
  writeFileSync(join(directory, 'profiles/new.yaml'), GOOD_PROFILE)
  await watch.changed()
  rmSync(join(directory, 'profiles/new.yaml'))
  await watch.changed()
  writeFileSync(join(directory, 'rules/generic.yaml'), 'pack: generic\nrules: []\n')
  await watch.changed()
  t.is(watch.count(), 3)
  t.false(load(directory).ok)
})

test('a folder that is replaced, and the whole directory that is replaced, stay watched', async t => {
  const directory = policyDirectory(t)
  const watch = watching(t, directory)
  renameSync(join(directory, 'rules'), join(directory, 'rules.old'))
  await watch.changed()
  mkdirSync(join(directory, 'rules'))
  writeFileSync(join(directory, 'rules/generic.yaml'), '# one\n')
  await watch.changed()
  writeFileSync(join(directory, 'rules/generic.yaml'), '# two\n')
  await watch.changed()

  const next = policyDirectory(t, { 'portcullis.yaml': CHANGED })
  renameSync(directory, `${directory}.old`)
  renameSync(next, directory)
  await watch.changed()
  writeFileSync(join(directory, 'portcullis.yaml'), `${CHANGED}# again\n`)
  await watch.changed()
  t.true(load(directory).ok)
})

test('files that the policy names elsewhere are watched, too', async t => {
  const directory = policyDirectory(t)
  const authority = join(dirname(directory), 'ca.pem')
  writeFileSync(authority, 'one')
  const watch = watching(t, directory, [authority])
  writeFileSync(authority, 'two')
  await watch.changed()
  t.is(watch.count(), 1)
})

test('a link that is swapped, as mounted configurations do it, is noticed', async t => {
  const root = dirname(policyDirectory(t))
  const one = join(root, 'policies')
  const two = policyDirectory(t, { 'portcullis.yaml': CHANGED })
  const link = join(root, 'current')
  symlinkSync(one, link)
  const watch = watching(t, link)
  symlinkSync(two, `${link}.new`)
  renameSync(`${link}.new`, link)
  await watch.changed()
  t.is(watch.count(), 1)
})

test('a directory that is not there is told', t => {
  const watch = watching(t, join(policyDirectory(t), 'nowhere'))
  t.regex(watch.problems.join(), /no such directory/)
})

test('a file that the policy names only after a reload is watched from then on', async t => {
  const directory = policyDirectory(t)
  const authority = join(dirname(directory), 'authorities', 'private.crt')
  mkdirSync(dirname(authority))
  writeFileSync(authority, 'one')
  const extra: string[] = []
  const watch = watching(t, directory, extra)
  extra.push(authority)
  watch.refresh()
  await watch.changed()
  writeFileSync(authority, 'two')
  await watch.changed()
  t.pass()
})

test('an import is noticed: the first one, files within it, and one that takes its place', async t => {
  const directory = policyDirectory(t)
  const watch = watching(t, directory)
  const folder = join(directory, 'rules/imported/crs')
  const write = (where: string, text: string): void => {
    mkdirSync(join(where, 'rules'), { recursive: true })
    writeFileSync(join(where, 'rules/a.conf'), text)
  }
  const put = (text: string): void => {
    const fresh = join(dirname(folder), '.fresh')
    write(fresh, text)
    rmSync(folder, { recursive: true, force: true })
    renameSync(fresh, folder)
  }
  put('# one\n')
  await watch.changed()
  writeFileSync(join(folder, 'local-before.conf'), '# own\n')
  await watch.changed()
  writeFileSync(join(folder, 'rules/a.conf'), '# two\n')
  await watch.changed()
  put('# three\n')
  await watch.changed()
  writeFileSync(join(folder, 'rules/a.conf'), '# four\n')
  await watch.changed()
  t.is(watch.count(), 5)
  t.deepEqual(watch.problems, [])
})
