// What documents name exists: commands, scripts, and the settings that a server behind the gate needs.
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import test from 'ava'
import { COMMANDS } from '../../src/cli/commands.ts'

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

test('trap 38: every command and script that the documents name exists', t => {
  const commands = new Set([...COMMANDS.map(command => command.name), 'help'])
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

test('trap 43: what a MeshCentral server needs behind a gate is in its document', t => {
  const settings = blocks.filter(block => block.path === 'docs/real-rmm.md' && block.language === 'json')
  const text = settings.map(block => JSON.stringify(JSON.parse(block.text))).join()
  for (const key of ['cert', 'WANonly', 'aliasPort', 'redirPort', 'tlsOffload', 'trustedProxy', 'certUrl'])
    t.true(text.includes(`"${key}":`), key)
})
