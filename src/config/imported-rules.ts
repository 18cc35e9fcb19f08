// Imported rule sets of a policy directory: their manifest, their integrity, and how they are compiled.
import { z } from 'zod'
import { detectSqli } from '../ips/injection/sqli.ts'
import { detectXss } from '../ips/injection/xss.ts'
import { compilePattern } from '../ips/regex/compile.ts'
import { compileException } from '../ips/exceptions.ts'
import type { RuleException, RuleProblem } from '../ips/rule-document.ts'
import type { RuleSet } from '../ips/rule-set.ts'
import { compileSecLang, type SecCompiled } from '../ips/seclang/compile.ts'
import { entriesOf } from '../ips/seclang/entries.ts'
import { importedRuleSet } from '../ips/seclang/rule-set.ts'
import type { RuleUse } from '../ips/seclang/rule-use.ts'
import type { ImportedRule } from './choose-rules.ts'
import type { Disk } from './compile.ts'
import type { Reporter } from './context.ts'
import { isRuleSetFile, sha256 } from './import-source.ts'
import type { WrittenPolicy } from './schema.ts'

/** What the policy says of an imported rule set. */
export type WrittenImport = WrittenPolicy['rules']['imported'][string]

const hex = z.string().regex(/^[0-9a-f]{64}$/)

const manifestSchema = z.strictObject({
  format: z.literal(1),
  source: z.strictObject({ kind: z.enum(['directory', 'archive']), name: z.string().max(400), sha256: hex }),
  importedAt: z.string().max(40),
  files: z
    .array(
      z.strictObject({ path: z.string().refine(isRuleSetFile), bytes: z.number().int().min(0), sha256: hex }),
    )
    .min(1)
    .max(500),
})

/** The list of an import's files with their digests. */
export type ImportManifest = z.output<typeof manifestSchema>

/** Name of the list. */
export const MANIFEST = 'manifest.json'

/** Files of an admin's own that stand beside imported ones and are not in the list: exclusions before and after the rules. */
export const OWN_FILES = { before: 'local-before.conf', after: 'local-after.conf' } as const

/** Folder of an imported rule set in a policy directory. */
export function importFolder(name: string): string {
  return `rules/imported/${name}`
}

const SETTINGS = '(policy)'
// Beyond all numbers that rule sets use.
const SETTINGS_ID = 999_999_999_999

/** Compiles files with the settings of the policy; they come after the rule set's own settings and win. */
export function compileImport(
  name: string,
  files: ReadonlyMap<string, string>,
  settings: { readonly paranoia: number; readonly threshold: number },
): SecCompiled {
  // Problems and hits name files by their place in the policy directory.
  const folder = importFolder(name)
  const all = new Map([...files].map(([path, text]) => [`${folder}/${path}`, text]))
  const { setup, rules } = entriesOf(all)
  const ownFiles = Object.values(OWN_FILES).map(file => `${folder}/${file}`)
  const own = (file: string): readonly string[] =>
    ownFiles.filter(path => path.endsWith(file) && all.has(path))
  const variables = [
    `blocking_paranoia_level=${settings.paranoia}`,
    `detection_paranoia_level=${settings.paranoia}`,
    `paranoia_level=${settings.paranoia}`,
    `executing_paranoia_level=${settings.paranoia}`,
    `inbound_anomaly_score_threshold=${settings.threshold}`,
    // Rules refuse to work without their settings file, which Debian keeps elsewhere.
    ...(setup.length === 0 ? ['crs_setup_version=1'] : []),
  ]
  const actions = variables.map(variable => `setvar:tx.${variable}`).join(',')
  all.set(SETTINGS, `SecAction "id:${SETTINGS_ID},phase:1,nolog,pass,${actions}"`)
  const order = rules.filter(file => !ownFiles.includes(file))
  const entries = [...setup, SETTINGS, ...own(OWN_FILES.before), ...order, ...own(OWN_FILES.after)]
  const compiled = compileSecLang(all, entries, { name, compilePattern, detectSqli, detectXss })
  return { ...compiled, rules: compiled.rules.filter(({ number }) => number !== SETTINGS_ID) }
}

// Compiling takes a while and files rarely change, so that a reload of the policy need not do it again.
const compiledBefore = new Map<string, SecCompiled>()
const MAX_COMPILED = 4

/** An imported rule set that the policy uses. */
export type LoadedImport = {
  readonly name: string
  readonly written: WrittenImport
  readonly compiled: SecCompiled
  /** Rules that modes and exceptions can name. */
  readonly rules: readonly ImportedRule[]
}

/** Loads the imported rule sets that the policy uses. What is wrong with them is reported. */
export function loadImported(
  imported: WrittenPolicy['rules']['imported'],
  disk: Disk,
  report: Reporter,
): readonly LoadedImport[] {
  return Object.entries(imported).flatMap(([name, written]): readonly LoadedImport[] => {
    const problem = (message: string, hint: string): void =>
      report.error(['rules', 'imported', name], message, hint)
    const files = readImport(name, disk)
    if (typeof files === 'string') {
      problem(
        files,
        `import it: portcullis rules import <directory or archive> --sha256 <digest> --name ${name}`,
      )
      return []
    }
    const texts = [...files].map(([path, text]) => `${path} ${sha256(text)}`)
    const key = [name, written.paranoia, written.threshold, ...texts].join('\n')
    const compiled = compiledBefore.get(key) ?? compileImport(name, files, written)
    compiledBefore.delete(key)
    if (compiledBefore.size >= MAX_COMPILED) compiledBefore.clear()
    compiledBefore.set(key, compiled)
    const errors = compiled.problems.filter(({ level }) => level === 'error')
    for (const { message, at } of errors.slice(0, 20)) {
      problem(`${at.file}:${at.line}: ${message}`, 'correct your own file, or import the rule set again')
    }
    warnOfNotes(name, compiled, report)
    const numbers = new Set(compiled.rules.map(({ number }) => number))
    for (const [index, number] of written.without.entries()) {
      if (!numbers.has(number)) {
        report.error(['rules', 'imported', name, 'without', index], `${name} has no rule ${number}`)
      }
    }
    const digest = sha256(key).slice(0, 16)
    const { mode } = written
    const rules = compiled.rules
      .filter(rule => rule.isLogged)
      .map(({ id, tags }) => ({
        id,
        tags,
        pack: name,
        mode,
        overrides: [],
        digest,
        isImported: true as const,
      }))
    return [{ name, written, compiled, rules }]
  })
}

function warnOfNotes(name: string, { problems }: SecCompiled, report: Reporter): void {
  const notes = problems.filter(({ level }) => level === 'note')
  const [first] = notes
  if (first === undefined) return
  const more = notes.length === 1 ? '' : ` (and ${notes.length - 1} more like it)`
  report.warn(
    ['rules', 'imported', name],
    `not all of ${name} can be run: ${first.at.file}:${first.at.line}: ${first.message}${more}`,
    `portcullis rules list ${name} shows what is not asked, and why`,
  )
}

/** The rule set of an import with the policy's modes and exceptions in it; wrong exceptions are added to `problems`. */
export function importedSet(
  { written, compiled, rules }: LoadedImport,
  uses: ReadonlyMap<string, RuleUse>,
  problems: RuleProblem[],
): RuleSet {
  const checked = new Set<RuleException>()
  for (const { id } of rules) {
    for (const exception of uses.get(id)?.except ?? []) {
      if (checked.has(exception)) continue
      checked.add(exception)
      compileException(id, exception, [], problems)
    }
  }
  return importedRuleSet(compiled, { mode: written.mode, without: written.without, rules: uses })
}

/** Files of an import by their path in it, as byte strings; a text: why they must not be used. */
function readImport(name: string, disk: Pick<Disk, 'bytes'>): ReadonlyMap<string, string> | string {
  const folder = importFolder(name)
  const list = disk.bytes(`${folder}/${MANIFEST}`)
  if ('problem' in list) return `${folder}/${MANIFEST}: ${list.problem}`
  const manifest = readManifest(list.bytes)
  if (manifest === null) return `${folder}/${MANIFEST} is not the list of an import`
  const files = new Map<string, string>()
  for (const { path, bytes: size, sha256: digest } of manifest.files) {
    const read = disk.bytes(`${folder}/${path}`)
    if ('problem' in read) return `${folder}/${path}: ${read.problem}`
    if (read.bytes.length !== size || sha256(read.bytes) !== digest) {
      return `${folder}/${path} is not the file that was imported: its SHA-256 differs`
    }
    files.set(path, Buffer.from(read.bytes).toString('latin1'))
  }
  for (const file of Object.values(OWN_FILES)) {
    const read = disk.bytes(`${folder}/${file}`)
    if ('bytes' in read) files.set(file, Buffer.from(read.bytes).toString('latin1'))
    else if (!read.missing) return `${folder}/${file}: ${read.problem}`
  }
  return files
}

function readManifest(bytes: Uint8Array): ImportManifest | null {
  try {
    const parsed = manifestSchema.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}
