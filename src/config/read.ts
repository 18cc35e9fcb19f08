// Reads YAML text strictly and keeps the line and column of everything in it.
import {
  LineCounter,
  isAlias,
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
  visit,
  type Document,
  type Node,
  type Pair,
  type YAMLError,
} from 'yaml'
import type { SourceLine } from '../policy/source-line.ts'
import { problemAt, type Problem } from './problems.ts'

/** Path of a value inside a document. */
export type Path = readonly (string | number)[]

/** A parsed file: plain data, and the place of each part. */
export type YamlSource = {
  /** The file as messages name it. */
  readonly file: string
  readonly lines: readonly string[]
  readonly value: unknown
  /** Place of a value: of the value itself when it is one word or written in brackets, of its key when it is a block. */
  readonly at: (path: Path) => SourceLine
  /** Place of the last key of a path. */
  readonly keyAt: (path: Path) => SourceLine
}

/** A parsed file, or everything that keeps it from being one. */
export type ReadResult =
  | { readonly ok: true; readonly source: YamlSource }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Largest policy file. 1,000 sites with notes fit. */
export const MAX_FILE_BYTES = 524_288
const MAX_SYNTAX_PROBLEMS = 20
const MAX_DEPTH = 40

/** Turns the bytes of a file into text; a sentence when they are not UTF-8 text of a sensible size. */
export function decodeText(bytes: Uint8Array): { readonly text: string } | { readonly problem: string } {
  if (bytes.length > MAX_FILE_BYTES) {
    return { problem: `the file has ${bytes.length} bytes; policy files may have ${MAX_FILE_BYTES}` }
  }
  const [first, second] = bytes
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    return { problem: 'the file is UTF-16; save it as UTF-8' }
  }
  if (bytes.includes(0)) return { problem: 'the file is binary, not YAML text' }
  try {
    // The decoder drops a UTF-8 byte order mark, which Windows editors write.
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    return { problem: 'the file is not valid UTF-8; save it as UTF-8' }
  }
}

/**
 * Parses the text of one policy file. Anchors, aliases, tags, repeated keys and several documents are refused:
 * a policy must mean what it looks like. Never throws for bad text.
 */
export function readYaml(file: string, text: string): ReadResult {
  const lines = text.split(/\r?\n/)
  const fail = (line: number, column: number, message: string, hint: string | null = null): ReadResult => ({
    ok: false,
    problems: [problemAt({ file, line, column }, lines, message, hint)],
  })
  if (text.trim() === '') return fail(1, 1, 'the file is empty')

  const counter = new LineCounter()
  let document: Document.Parsed
  try {
    document = parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      // Repeated keys are found below in linear time; the library compares each key with each.
      uniqueKeys: false,
      merge: false,
      schema: 'core',
      logLevel: 'error',
    })
  } catch (error) {
    return fail(1, 1, `the YAML cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
  const place = (offset: number): SourceLine => {
    const { line, col } = counter.linePos(Math.min(offset, text.length))
    return { file, line: Math.max(1, line), column: Math.max(1, col) }
  }
  const problems: Problem[] = []
  for (const error of [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_PROBLEMS)) {
    const { message, hint } = explainSyntax(error)
    problems.push(problemAt(place(error.pos[0]), lines, message, hint))
  }
  if (problems.length === 0) problems.push(...findUnwanted(document, place, lines))
  if (problems.length > 0) return { ok: false, problems }

  const value: unknown = document.toJS({ maxAliasCount: 0 })
  const root = document.contents
  return {
    ok: true,
    source: {
      file,
      lines,
      value,
      at: path => place(valueOffset(root, path)),
      keyAt: path => place(keyOffset(root, path)),
    },
  }
}

const SYNTAX: Readonly<Record<string, readonly [string, string]>> = {
  TAB_AS_INDENT: ['a tab is used for indentation', 'indent with spaces'],
  MULTIPLE_DOCS: ['the file has more than one document', 'remove the line "---" in the middle'],
  TAG_RESOLVE_FAILED: ['YAML tags ("!...") have no meaning here', 'remove the tag or quote the text'],
  BAD_ALIAS: [
    'YAML anchors and aliases ("&", "*") are not allowed',
    'quote text that begins with & or *, for example "*.example.com"',
  ],
}

function explainSyntax(error: YAMLError): { readonly message: string; readonly hint: string | null } {
  const known = SYNTAX[error.code]
  if (known !== undefined) return { message: known[0], hint: known[1] }
  const message = `not valid YAML: ${firstSentence(error.message)}`
  return { message, hint: error.code === 'MISSING_CHAR' ? 'is a quote or bracket missing?' : null }
}

function firstSentence(message: string): string {
  const text = message.split('\n')[0] ?? message
  return text.charAt(0).toLowerCase() + text.slice(1)
}

function findUnwanted(
  document: Document.Parsed,
  place: (offset: number) => SourceLine,
  lines: readonly string[],
): Problem[] {
  const problems: Problem[] = []
  const add = (node: { range?: unknown }, message: string, hint: string | null): void => {
    if (problems.length < MAX_SYNTAX_PROBLEMS)
      problems.push(problemAt(place(offsetOf(node)), lines, message, hint))
  }
  visit(document, {
    Node(_, node, ancestors) {
      if (isAlias(node) || node.anchor !== undefined) {
        add(
          node,
          'YAML anchors and aliases ("&", "*") are not allowed',
          'write the value out; quote text that begins with & or *, for example "*.example.com"',
        )
      } else if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:')) {
        add(node, 'YAML tags ("!...") have no meaning here', 'remove the tag or quote the text')
      }
      if (ancestors.length > MAX_DEPTH * 2) {
        add(node, `more than ${MAX_DEPTH} levels of nesting`, null)
        return visit.BREAK
      }
      return undefined
    },
    Map(_, map) {
      const seen = new Map<string, number>()
      for (const pair of map.items) {
        const key = pair.key
        if (!isScalar(key)) {
          if (isCollection(key)) add(key, 'a key must be one word', null)
          continue
        }
        const word = String(key.value)
        if (word === '__proto__') add(key, 'unknown key "__proto__"', null)
        if (word === '<<') add(key, 'merge keys ("<<") are not allowed', 'write the keys out')
        const before = seen.get(word)
        if (before === undefined) seen.set(word, offsetOf(key))
        else {
          const hint = `keep one; the first is in line ${place(before).line}`
          add(key, `the key ${JSON.stringify(word)} is stated twice`, hint)
        }
      }
    },
  })
  return problems
}

function offsetOf(node: unknown): number {
  if (typeof node !== 'object' || node === null || !('range' in node)) return 0
  const { range } = node
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : 0
}

type Step = { readonly pair: Pair | null; readonly node: unknown }

// Follows a path as far as the document has it: a missing part is reported at its nearest parent.
function follow(root: Node | null, path: Path): Step {
  let step: Step = { pair: null, node: root }
  for (const part of path) {
    const { node }: Step = step
    if (isMap(node)) {
      const pair = node.items.find(item => isScalar(item.key) && String(item.key.value) === String(part))
      if (pair === undefined) return step
      step = { pair, node: pair.value }
    } else if (isSeq(node) && typeof part === 'number' && node.items[part] !== undefined) {
      const item = node.items[part]
      step = isPair(item) ? { pair: item, node: item.value } : { pair: null, node: item }
    } else return step
  }
  return step
}

function valueOffset(root: Node | null, path: Path): number {
  const { pair, node } = follow(root, path)
  const block = isCollection(node) && node.flow !== true
  const blank = node === null || (isScalar(node) && node.value === null && node.source === '')
  if (pair !== null && (block || blank)) return offsetOf(pair.key)
  return offsetOf(node)
}

function keyOffset(root: Node | null, path: Path): number {
  const { pair, node } = follow(root, path)
  return offsetOf(pair === null ? node : pair.key)
}
