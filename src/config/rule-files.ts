// Reads rule files, and remembers the sound ones by content: most reloads leave them alone, and parsing holds up traffic.
import type { RuleDocument } from '../ips/rule-document.ts'
import type { SourceLine } from '../policy/source-line.ts'
import type { Disk } from './compile.ts'
import { ruleDocuments } from './compile-rules.ts'
import { reporter, type Findings } from './context.ts'
import { digestOf } from './files.ts'
import { ruleFile } from './schema-rules.ts'
import { validate } from './validate.ts'

/** A rule file, understood. */
export type RuleFileContent = {
  /** How messages name the file. */
  readonly file: string
  readonly lines: readonly string[]
  readonly pack: string
  readonly packAt: SourceLine
  readonly documents: readonly RuleDocument[]
}

/** Files that are remembered: those as shipped and some own ones, in a few versions. */
const MAX_REMEMBERED = 64
const remembered = new Map<string, RuleFileContent>()

/** Reads a rule file; null when it cannot be understood. What is wrong with it goes into the findings. */
export function readRuleFile(
  disk: Disk,
  name: string,
  findings: Findings,
  nowMs: number,
): RuleFileContent | null {
  const path = `rules/${name}`
  const key = digestIn(disk, path)
  const known = key === null ? undefined : remembered.get(key)
  if (known !== undefined) return relabelled(known, disk.shown(path))
  const found = findings.problems.length + findings.warnings.length
  const content = parse(disk, path, findings, nowMs)
  const isSound = findings.problems.length + findings.warnings.length === found
  // Exceptions that end are warned of by the clock, so their file is read again.
  const endsNever = content?.documents.every(({ except }) => except.every(entry => entry.expiresMs === null))
  // The file may have changed between the two readings.
  const isSame = key !== null && digestIn(disk, path) === key
  if (content !== null && isSame && isSound && endsNever === true) {
    const [oldest] = remembered.keys()
    if (remembered.size >= MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest)
    remembered.set(key, content)
  }
  return content
}

function digestIn(disk: Disk, path: string): string | null {
  const read = disk.bytes(path)
  return 'bytes' in read ? digestOf([{ name: path, bytes: read.bytes }]) : null
}

function parse(disk: Disk, path: string, findings: Findings, nowMs: number): RuleFileContent | null {
  const source = disk.yaml(path)
  if (source === null) return null
  const validated = validate(ruleFile, source)
  findings.problems.push(...validated.problems)
  if (validated.value === null) return null
  const report = reporter(findings, source.lines, validated.at)
  const { pack, rules } = validated.value
  return {
    file: source.file,
    lines: source.lines,
    pack,
    packAt: report.at(['pack']),
    documents: ruleDocuments({ pack, rules, report }, nowMs),
  }
}

/** The same content under another name: its lines point into that file. */
function relabelled(content: RuleFileContent, file: string): RuleFileContent {
  return content.file === file ? content : (moved(content, content.file, file) as RuleFileContent)
}

function moved(value: unknown, from: string, to: string): unknown {
  if (Array.isArray(value)) return value.map(entry => moved(entry, from, to))
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      key === 'file' && inner === from ? to : moved(inner, from, to),
    ]),
  )
}
