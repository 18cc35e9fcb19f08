// What a file of src/ exports, another file uses: nothing is kept for its tests alone, and nothing is offered to nobody.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'ava'

const root = resolve(import.meta.dirname, '../..')

type Source = {
  readonly path: string
  readonly text: string
  /** `<file>#<name>` of everything that it imports by name, and `<file>#*` of whole modules. */
  readonly imports: ReadonlySet<string>
}

/** Values that only tests import, each with its reason. */
const FOR_TESTS: Readonly<Record<string, string>> = {
  'src/ips/transform/table.ts#TRANSFORM_NAMES': 'properties are tested of every transform that there is',
}

function read(folder: string): readonly Source[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.ts'))
    .map(name => {
      const path = join(folder, name)
      const text = readFileSync(join(root, path), 'utf8')
      return { path, text, imports: importsOf(path, text) }
    })
}

function importsOf(path: string, text: string): ReadonlySet<string> {
  const found = new Set<string>()
  const from = (specifier: string): string =>
    relative(root, resolve(root, dirname(path), specifier)).replaceAll('\\', '/')
  for (const [, all, names = '', specifier = ''] of text.matchAll(
    /^(?:import|export)\s+(?:type\s+)?(?:(\*)(?:\s+as\s+\w+)?|\{([^}]*)\})\s+from\s+'(\.[^']+)'/gm,
  )) {
    if (all !== undefined) found.add(`${from(specifier)}#*`)
    for (const name of names.split(','))
      found.add(
        `${from(specifier)}#${
          name
            .trim()
            .replace(/^type\s+/, '')
            .split(/\s/)[0] ?? ''
        }`,
      )
  }
  for (const [, names, specifier = ''] of text.matchAll(
    /(?:\{([^{}]*)\}\s*=\s*await\s+)?import\('(\.[^']+)'\)/g,
  )) {
    if (names === undefined) found.add(`${from(specifier)}#*`)
    else
      for (const name of names.split(',')) found.add(`${from(specifier)}#${name.split(':')[0]?.trim() ?? ''}`)
  }
  return found
}

const product = read('src')
const others = [...read('test'), ...read('bench')]

/** What `source` exports by declaring it: `value` for what is there at run time. */
function* exportsOf(source: Source): Generator<{ readonly name: string; readonly isValue: boolean }> {
  for (const [, kind = '', name = ''] of source.text.matchAll(
    /^export (?:async )?(function\*?|const|let|class|type|interface) +([\w$]+)/gm,
  ))
    yield { name, isValue: kind !== 'type' && kind !== 'interface' }
}

const isImported = (by: readonly Source[], path: string, name: string): boolean =>
  by.some(({ imports }) => imports.has(`${path}#${name}`) || imports.has(`${path}#*`))

/** How often a file itself names it, its declaration and comments aside. */
function ownUses({ text }: Source, name: string): number {
  const code = text.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, '')
  return (code.match(new RegExp(`(?<![\\w$])${name.replaceAll('$', '\\$')}(?![\\w$])`, 'g'))?.length ?? 0) - 1
}

test('every export of src/ is used by the product, not by its tests alone', t => {
  const unused: string[] = []
  const justified = new Set(Object.keys(FOR_TESTS))
  for (const source of product) {
    for (const { name } of exportsOf(source)) {
      if (isImported(product, source.path, name) || ownUses(source, name) > 0) continue
      if (!justified.delete(`${source.path}#${name}`)) unused.push(`${source.path}: ${name}`)
    }
  }
  t.deepEqual(unused, [], 'remove it, or use it')
  t.deepEqual([...justified], [], 'no longer exported, or used by now: off the list')
})

test('a value that only its own file uses is not exported', t => {
  const offered: string[] = []
  for (const source of product) {
    for (const { name, isValue } of exportsOf(source)) {
      if (isValue && !isImported([...product, ...others], source.path, name))
        offered.push(`${source.path}: ${name}`)
    }
  }
  t.deepEqual(offered, [], 'take `export` away')
})
