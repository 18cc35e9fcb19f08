// The directions of the design, read from the import statements; and rules about files themselves.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'ava'

const root = resolve(import.meta.dirname, '../..')
const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter(path => path.endsWith('.ts'))
  .map(path => ({ path, text: readFileSync(join(root, 'src', path), 'utf8') }))

const ADAPTERS = ['edge', 'forward', 'geo', 'tunnel', 'journal', 'access', 'admin', 'practice']
/** Adapters that others stand on: where everything is reported, and who may attach or log in. */
const SHARED = ['journal', 'access']
const PURE = ['net', 'policy', 'ips', 'deploy']
/** The composition root is main.ts and what stands beside it; the command line composes, too. */
const isComposition = (folder: string): boolean => folder === 'cli' || folder.endsWith('.ts')

/** The programs of bin/. */
const ENTRY_POINTS = ['main.ts', 'connector-main.ts']

/** Which folders (and packages) a folder may import from, beside itself. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  net: [],
  // One pure core in three folders: verdicts carry rule hits, rules read facts.
  policy: ['net', 'ips'],
  ips: ['net', 'policy'],
  config: ['net', 'policy', 'ips'],
  journal: ['net', 'policy', 'ips'],
  geo: ['net', 'policy', 'journal'],
  forward: ['net', 'policy', 'ips', 'journal'],
  edge: ['net', 'policy', 'ips', 'journal', 'forward'],
  access: ['net', 'policy', 'journal'],
  admin: ['net', 'policy', 'ips', 'journal', 'access'],
  tunnel: ['net', 'policy', 'journal', 'access'],
  practice: ['net', 'policy', 'journal'],
  diagnose: ['net', 'policy', 'ips', 'journal'],
  plan: ['net', 'policy', 'ips', 'journal'],
  deploy: ['net', 'policy', 'journal'],
}

type Import = { readonly from: string; readonly specifier: string; readonly folder: string | null }

function importsOf({ path, text }: { readonly path: string; readonly text: string }): Import[] {
  const found: Import[] = []
  for (const match of text.matchAll(
    /^(?:import|export)\s[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'|import\('([^']+)'\)/gm,
  )) {
    const specifier = match[1] ?? match[2] ?? match[3] ?? ''
    const local = specifier.startsWith('.')
    const target = local ? relative(join(root, 'src'), resolve(root, 'src', dirname(path), specifier)) : null
    found.push({ from: path, specifier, folder: target === null ? null : topOf(target) })
  }
  return found
}

const topOf = (path: string): string => path.split('/')[0] ?? path

test('imports follow the directions of the design', t => {
  const wrong: string[] = []
  for (const source of sources) {
    const folder = topOf(source.path)
    if (isComposition(folder)) continue
    const allowed = MAY_IMPORT[folder]
    t.truthy(allowed, `src/${source.path}: folder ${folder} is not in the list of directions`)
    for (const entry of importsOf(source)) {
      if (entry.folder !== null && entry.folder !== folder && !allowed?.includes(entry.folder)) {
        wrong.push(`src/${source.path} imports ${entry.specifier}`)
      }
    }
  }
  t.deepEqual(wrong, [])
})

test('the pure folders import no node: module and no package', t => {
  const wrong = sources
    .filter(source => PURE.includes(topOf(source.path)))
    .flatMap(importsOf)
    .filter(entry => entry.folder === null)
    .map(entry => `src/${entry.from} imports ${entry.specifier}`)
  t.deepEqual(wrong, [])
})

test('adapters never import each other, except edge -> forward', t => {
  const wrong = sources
    .filter(source => ADAPTERS.includes(topOf(source.path)))
    .flatMap(importsOf)
    .filter(({ from, folder }) => {
      const own = topOf(from)
      if (folder === null || folder === own || SHARED.includes(folder) || !ADAPTERS.includes(folder))
        return false
      return !(own === 'edge' && folder === 'forward')
    })
    .map(entry => `src/${entry.from} imports ${entry.specifier}`)
  t.deepEqual(wrong, [])
})

test('only the entry points and cli/ touch process, only journal/store* touches SQLite', t => {
  const wrong: string[] = []
  for (const { path, text } of sources) {
    const code = text.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, '')
    if (
      !ENTRY_POINTS.includes(path) &&
      topOf(path) !== 'cli' &&
      /\bprocess\s*\.\s*\w|from 'node:process'/.test(code)
    ) {
      wrong.push(`src/${path} touches process`)
    }
    if (!path.startsWith('journal/store') && code.includes('node:sqlite'))
      wrong.push(`src/${path} touches SQLite`)
  }
  t.deepEqual(wrong, [])
})

test('every source file starts with a comment that says what it is for, and is short enough to read', t => {
  const wrong: string[] = []
  for (const { path, text } of sources) {
    if (!/^\/\/ \S.{10,}/.test(text)) wrong.push(`src/${path}: first line is no purpose comment`)
    if (text.trimEnd().split('\n').length > 400) wrong.push(`src/${path}: over 400 lines`)
    if (/\b(?:TODO|FIXME)\b|@ts-(?:ignore|expect-error)|(?:ox|es)lint-disable|as any\b/.test(text)) {
      wrong.push(`src/${path}: unfinished or unchecked code`)
    }
  }
  t.deepEqual(wrong, [])
})

test('nothing tracked names words that the project does not use, or a place outside of it', t => {
  const wrong: string[] = []
  for (const { path, text } of sources) {
    if (
      /\b(?:white|black)list|\bManager\b|\bHelper\b|\butils\b/i.test(
        text.replaceAll('NetSupport Manager', ''),
      )
    ) {
      wrong.push(`src/${path}: a word that this project does not use`)
    }
  }
  t.deepEqual(wrong, [])
})
