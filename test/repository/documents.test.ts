// Examples in documents rot unless something runs them: policies load, commands exist, links lead somewhere.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import test from 'ava'
import { parse, stringify } from 'yaml'
import { COMMANDS } from '../../src/cli/commands.ts'
import { loadPolicy } from '../../src/config/load.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { usualPolicy, type PolicyParts } from '../support/whole-gate.ts'

const root = resolve(import.meta.dirname, '../..')
const documents = [
  ...readdirSync(root).filter(name => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .map(name => join('docs', name)),
].map(path => ({ path, text: readFileSync(join(root, path), 'utf8') }))

type Block = { readonly path: string; readonly language: string; readonly text: string }

/** Fenced blocks, those inside of lists too. */
const blocks: readonly Block[] = documents.flatMap(({ path, text }) =>
  [...text.matchAll(/^( *)```(\w+)\n([\s\S]*?)^ *```/gm)].map(
    ([, indent = '', language = '', body = '']) => ({
      path,
      language,
      text: body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    }),
  ),
)

test('trap 38: every policy in the documents loads', t => {
  const examples = blocks.filter(block => block.language === 'yaml')
  t.true(examples.length > 0)
  for (const { path, text } of examples) {
    const directory = mkdtempSync(join(tmpdir(), 'portcullis-example-'))
    t.teardown(() => rmSync(directory, { recursive: true, force: true }))
    mkdirSync(join(directory, 'policies'))
    for (const name of ['profiles', 'rules'])
      cpSync(join(root, 'policies', name), join(directory, 'policies', name), { recursive: true })
    const written = parse(text) as PolicyParts
    const whole = Object.hasOwn(written, 'version')
      ? text
      : stringify({ ...usualPolicy({ primary: 'http://127.0.0.1:9080' }), ...written })
    writeFileSync(join(directory, 'policies/portcullis.yaml'), whole)
    const result = loadPolicy({ directory: join(directory, 'policies'), nowMs: Date.UTC(2026, 10, 21) })
    t.true(result.ok, `${path}\n${result.ok ? '' : result.problems.map(renderProblem).join('\n')}`)
  }
})

test('trap 38: every command and script that the documents name exists', t => {
  const commands = new Set(COMMANDS.map(command => command.name))
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>
  }
  const wrong: string[] = []
  for (const { path, text } of documents) {
    for (const [, name = ''] of text.matchAll(/bin\/portcullis ([a-z-]+)/g))
      if (!commands.has(name)) wrong.push(`${path}: bin/portcullis ${name}`)
    for (const [, name = ''] of text.matchAll(/`portcullis ([a-z-]+)/g))
      if (!commands.has(name)) wrong.push(`${path}: portcullis ${name}`)
    for (const [, name = ''] of text.matchAll(/npm run (?:-s )?([a-z-]+)/g))
      if (!Object.hasOwn(scripts, name)) wrong.push(`${path}: npm run ${name}`)
  }
  t.deepEqual(wrong, [])
})

test('every link of the documents to a file leads to one', t => {
  const wrong: string[] = []
  for (const { path, text } of documents) {
    for (const [, target = ''] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      if (!existsSync(join(root, dirname(path), target))) wrong.push(`${path}: ${target}`)
    }
  }
  t.deepEqual(wrong, [])
})

test('trap 43: what a MeshCentral server needs behind a gate is in its document', t => {
  const settings = blocks.filter(block => block.path === 'docs/real-rmm.md' && block.language === 'json')
  const text = settings.map(block => JSON.stringify(JSON.parse(block.text))).join()
  for (const key of ['cert', 'WANonly', 'aliasPort', 'redirPort', 'tlsOffload', 'trustedProxy', 'certUrl'])
    t.true(text.includes(`"${key}":`), key)
})
