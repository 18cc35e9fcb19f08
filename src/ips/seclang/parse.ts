// Reads files of the ModSecurity rule language into one document.
import type { SourceLine } from '../../policy/source-line.ts'
import type { RuleChoice, SecChange, SecDocument, SecProblem, SecStep } from './document.ts'
import { logicalLines, wordsOf } from './lines.ts'
import { parseActions, parseIds, parseOperator, parseVariables } from './parse-parts.ts'

/** Files by path; byte strings. The path is how the files name each other, with slashes. */
export type SecFiles = ReadonlyMap<string, string>

/** How much may be read. */
const SEC_LIMITS = {
  fileCharacters: 4_000_000,
  steps: 20_000,
  lineCharacters: 200_000,
  problems: 500,
  includeDepth: 8,
} as const

// Directives about the engine, its logs and its storage: they have no meaning here and change no rule.
const ENGINE_DIRECTIVES =
  /^Sec(?:ComponentSignature|RuleEngine|RequestBody\w*|ResponseBody\w*|Audit\w*|DebugLog\w*|Argument\w*|Collection\w*|CookieFormat|CookieV0Separator|DataDir|TmpDir|TmpSave\w*|Upload\w*|UnicodeMapFile|StatusEngine|PcreMatchLimit\w*|ServerSignature|ConnEngine|ConnReadStateLimit|ConnWriteStateLimit|SensorId|WebAppId|HashEngine|HashKey|HashParam|HashMethod\w*|GeoLookupDb|GsbLookupDb|HttpBlKey|GuardianLog|InterceptOnError|DisableBackendCompression|ContentInjection|StreamInBodyInspection|StreamOutBodyInspection|CacheTransformations|ChrootDir|Xml\w*|RulePerfTime|RemoteRules\w*|RuleInheritance)$/i

/** Reads files in the order of `entries`, and what they include. Never throws: what is wrong is in `problems`. */
export function parseSecLang(files: SecFiles, entries: readonly string[]): SecDocument {
  const parser = new Parser(files)
  for (const entry of entries) parser.file(entry, { file: entry, line: 0, column: 0 }, 0)
  return parser.document()
}

class Parser {
  readonly #files: SecFiles
  readonly #steps: SecStep[] = []
  readonly #changes: SecChange[] = []
  readonly #problems: SecProblem[] = []
  #full = false

  constructor(files: SecFiles) {
    this.#files = files
  }

  document(): SecDocument {
    return { steps: this.#steps, changes: this.#changes, problems: this.#problems }
  }

  file(name: string, from: SourceLine, depth: number): void {
    const text = this.#files.get(name)
    if (text === undefined) {
      this.#problem('error', `there is no file ${name}: nothing of it can be read`, from)
      return
    }
    if (text.length > SEC_LIMITS.fileCharacters) {
      this.#problem(
        'error',
        `the file is longer than ${SEC_LIMITS.fileCharacters} characters: it is not read`,
        {
          file: name,
          line: 1,
          column: 1,
        },
      )
      return
    }
    for (const { line, text: written } of logicalLines(text)) {
      if (this.#full) return
      this.#directive(written, { file: name, line, column: 1 }, depth)
    }
  }

  #problem(level: SecProblem['level'], message: string, at: SourceLine): void {
    if (this.#problems.length < SEC_LIMITS.problems) this.#problems.push({ level, message, at })
  }

  #add(step: SecStep): void {
    if (this.#steps.length >= SEC_LIMITS.steps) {
      this.#problem(
        'error',
        `there are more than ${SEC_LIMITS.steps} rules and markers: the rest is not read`,
        step.at,
      )
      this.#full = true
      return
    }
    this.#steps.push(step)
  }

  #directive(text: string, at: SourceLine, depth: number): void {
    if (text.length > SEC_LIMITS.lineCharacters) {
      this.#problem(
        'error',
        `the directive is longer than ${SEC_LIMITS.lineCharacters} characters: it is not read`,
        at,
      )
      return
    }
    const words = wordsOf(text)
    if (words === null) {
      this.#problem('error', 'a quote is opened and not closed: the directive is not read', at)
      return
    }
    const [name = '', ...rest] = words
    switch (name.toLowerCase()) {
      case 'secrule':
        this.#rule(rest, at)
        return
      case 'secaction':
        this.#actions(rest[0] ?? '', at, actions => this.#add({ kind: 'action', actions, at }))
        return
      case 'secdefaultaction':
        this.#actions(rest[0] ?? '', at, actions => this.#add({ kind: 'default', actions, at }))
        return
      case 'secmarker':
        if (rest[0] === undefined)
          this.#problem('error', 'SecMarker needs a name: jumps to it cannot work', at)
        else this.#add({ kind: 'marker', name: rest[0], at })
        return
      case 'include':
      case 'includeoptional':
        this.#include(rest[0] ?? '', name.toLowerCase() === 'includeoptional', at, depth)
        return
      default:
        this.#change(name, rest, at)
    }
  }

  #rule(words: readonly string[], at: SourceLine): void {
    const [targets, operator, actions = ''] = words
    if (targets === undefined || operator === undefined || words.length > 3) {
      const count = words.length
      this.#problem(
        'error',
        `SecRule needs variables, an operator and actions, and has ${count} words: it is not read`,
        at,
      )
      return
    }
    const variables = parseVariables(targets)
    if (typeof variables === 'string') {
      this.#problem('error', `${variables}: the rule is not read`, at)
      return
    }
    this.#actions(actions, at, items =>
      this.#add({ kind: 'rule', variables, operator: parseOperator(operator), actions: items, at }),
    )
  }

  #actions(
    text: string,
    at: SourceLine,
    then: (items: Extract<SecStep, { kind: 'action' }>['actions']) => void,
  ): void {
    const items = parseActions(text)
    if (typeof items === 'string') this.#problem('error', `${items}: the directive is not read`, at)
    else then(items)
  }

  #change(name: string, rest: readonly string[], at: SourceLine): void {
    const folded = name.toLowerCase()
    const kinds: Readonly<Record<string, SecChange['kind']>> = {
      remove: 'remove',
      updatetarget: 'targets',
      updateaction: 'actions',
    }
    const form = /^secrule(remove|updatetarget|updateaction)by(id|tag|msg)$/.exec(folded)
    if (form === null) {
      if (ENGINE_DIRECTIVES.test(name)) return
      this.#problem('note', `there is no directive ${name.slice(0, 40)} here: the line has no effect`, at)
      return
    }
    const kind = kinds[form[1] ?? ''] ?? 'remove'
    const [first = '', second] = rest
    let link = 0
    let choices: readonly RuleChoice[] | string
    if (form[2] === 'id') {
      const offset = /^(\d+):(\d{1,3})$/.exec(first)
      if (offset !== null) link = Number(offset[2])
      choices = parseIds(kind === 'remove' ? rest : [offset?.[1] ?? first])
    } else {
      choices =
        first === '' ? 'there is no text' : [{ by: form[2] === 'tag' ? 'tag' : 'message', text: first }]
    }
    if (typeof choices === 'string') {
      this.#problem('error', `${choices}: ${name} has no effect`, at)
      return
    }
    const base = { choices, link, before: this.#steps.length, at }
    if (kind === 'remove') {
      this.#changes.push({ ...base, kind })
      return
    }
    const read = kind === 'targets' ? parseVariables(second ?? '') : parseActions(second ?? '')
    if (typeof read === 'string') {
      this.#problem('error', `${read}: ${name} has no effect`, at)
      return
    }
    if (kind === 'targets') {
      const variables = parseVariables(second ?? '')
      if (typeof variables !== 'string') this.#changes.push({ ...base, kind, variables })
    } else {
      const actions = parseActions(second ?? '')
      if (typeof actions !== 'string') this.#changes.push({ ...base, kind, actions })
    }
  }

  #include(path: string, isOptional: boolean, at: SourceLine, depth: number): void {
    if (depth >= SEC_LIMITS.includeDepth) {
      this.#problem(
        'error',
        `files include each other more than ${SEC_LIMITS.includeDepth} deep: ${path} is not read`,
        at,
      )
      return
    }
    const found = matchingFiles(this.#files, path, at.file)
    if (found.length === 0 && !isOptional) {
      this.#problem('error', `${path} is not among the imported files: nothing of it can be read`, at)
    }
    for (const name of found) this.file(name, at, depth + 1)
  }
}

/**
 * Files that a path names, seen from a file: beside it, from the root of the import, or by the end of an absolute path. `*` in the last
 * part stands for any characters.
 */
export function matchingFiles(files: SecFiles, path: string, from: string): readonly string[] {
  const folder = from.includes('/') ? from.slice(0, from.lastIndexOf('/') + 1) : ''
  const candidates = path.startsWith('/') ? absolute(path) : [`${folder}${path}`, path]
  for (const candidate of candidates) {
    const plain = candidate.replace(/^(?:\.\/)+/, '')
    const found = plain.includes('*') ? globbed(files, plain) : files.has(plain) ? [plain] : []
    if (found.length > 0) return found
  }
  return []
}

// `/usr/share/modsecurity-crs/rules/x.conf` may stand in the import as `rules/x.conf`.
function absolute(path: string): readonly string[] {
  const parts = path.split('/').filter(part => part !== '')
  return parts.map((_, index) => parts.slice(index).join('/'))
}

function globbed(files: SecFiles, pattern: string): readonly string[] {
  const parts = pattern.split('*')
  const [first = ''] = parts
  const last = parts.at(-1) ?? ''
  if (parts.length > 2) return []
  return [...files.keys()]
    .filter(
      name =>
        name.startsWith(first) &&
        name.endsWith(last) &&
        name.length >= first.length + last.length &&
        !name.slice(first.length, name.length - last.length).includes('/'),
    )
    .sort()
}
