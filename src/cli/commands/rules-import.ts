// portcullis rules import: takes a rule set of the ModSecurity language into the policy directory, checked against its digest.
import { randomUUID } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import {
  compileImport,
  importFolder,
  MANIFEST,
  OWN_FILES,
  type ImportManifest,
} from '../../config/imported-rules.ts'
import { readImportSource, sha256, type ImportSource } from '../../config/import-source.ts'
import type { SecCompiled } from '../../ips/seclang/compile.ts'
import { PortcullisError } from '../../policy/error.ts'
import { usageError, type CommandArguments, type CommandContext } from '../command.ts'
import { counted } from '../format.ts'
import { policyDirectory, shownDirectory } from '../gate-access.ts'

const MAX_SHOWN = 20

/** Runs it. @throws PortcullisError `usage`, `rules-import-refused` or `rules-import-failed` */
export function importRules(args: CommandArguments, context: CommandContext): number {
  const [, source, ...more] = args.positionals
  const example = 'For example: portcullis rules import coreruleset-4.0.0.tar.gz --sha256 <digest>'
  if (source === undefined || more.length > 0)
    throw usageError('rules import needs one directory or archive', example)
  const name = args.text('name') ?? 'crs'
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) {
    throw usageError(
      `${name} is no name of a rule set`,
      'Use small letters, digits and dashes, for example crs.',
    )
  }
  const paranoia = Number(args.text('paranoia') ?? '1')
  if (![1, 2, 3, 4].includes(paranoia)) throw usageError('--paranoia is 1, 2, 3 or 4', example)
  const read = readImportSource(resolve(context.cwd, source))
  if (typeof read === 'string') throw refused(source, read, 'Check the path, or download the rule set again.')
  const stated = args.text('sha256')?.toLowerCase()
  if (stated === undefined) {
    throw usageError(
      `rules import needs --sha256: whoever writes rules decides what is refused`,
      `The SHA-256 of ${source} is ${read.sha256}. Compare it with the one that its makers publish, then state it.`,
    )
  }
  if (stated !== read.sha256) {
    throw refused(
      source,
      `its SHA-256 is ${read.sha256}, not ${stated}`,
      'Download it again from its makers.',
    )
  }
  const directory = join(policyDirectory(args, context), importFolder(name))
  const texts = new Map([...read.files].map(([path, bytes]) => [path, Buffer.from(bytes).toString('latin1')]))
  for (const file of Object.values(OWN_FILES)) {
    const path = join(directory, file)
    if (existsSync(path)) texts.set(file, readFileSync(path, 'latin1'))
  }
  const compiled = compileImport(name, texts, { paranoia, threshold: 5 })
  const errors = compiled.problems.filter(({ level }) => level === 'error')
  if (errors.length > 0) {
    const lines = errors.slice(0, MAX_SHOWN).map(({ at, message }) => `${at.file}:${at.line}: ${message}`)
    throw refused(
      source,
      `it cannot be read as a whole:\n${lines.join('\n')}`,
      'Correct the files, or leave them out.',
    )
  }
  write(directory, basename(source), read, context.nowMs())
  if (args.flag('json')) context.terminal.json(summary(name, directory, read, compiled))
  else show(name, shownDirectory(directory, context.cwd), paranoia, compiled, context)
  return 0
}

function refused(source: string, problem: string, remedy: string): PortcullisError {
  return new PortcullisError(`${source} is not imported: ${problem}`, {
    code: 'rules-import-refused',
    side: 'configuration',
    remedy,
  })
}

/** Writes files and their list beside the place where they belong, then changes places: a running gate sees all or nothing. */
function write(directory: string, name: string, read: ImportSource, nowMs: number): void {
  const parent = dirname(directory)
  const fresh = join(parent, `.${randomUUID()}`)
  const old = join(parent, `.${randomUUID()}`)
  const manifest: ImportManifest = {
    format: 1,
    source: { kind: read.kind, name, sha256: read.sha256 },
    importedAt: new Date(nowMs).toISOString(),
    files: [...read.files].map(([path, bytes]) => ({ path, bytes: bytes.length, sha256: sha256(bytes) })),
  }
  try {
    mkdirSync(join(fresh, 'rules'), { recursive: true })
    for (const [path, bytes] of read.files)
      writeFileSync(join(fresh, path), bytes, { flag: 'wx', mode: 0o644 })
    writeFileSync(join(fresh, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`, {
      flag: 'wx',
      mode: 0o644,
    })
    for (const file of Object.values(OWN_FILES)) {
      if (existsSync(join(directory, file))) cpSync(join(directory, file), join(fresh, file))
    }
    if (existsSync(directory)) renameSync(directory, old)
    renameSync(fresh, directory)
    rmSync(old, { recursive: true, force: true })
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    if (!existsSync(directory) && existsSync(old)) renameSync(old, directory)
    throw new PortcullisError(`${directory} cannot be written`, {
      code: 'rules-import-failed',
      side: 'configuration',
      remedy: 'Check that the policy directory exists, has room, and may be written by you.',
      cause: error,
    })
  }
}

function summary(
  name: string,
  directory: string,
  read: ImportSource,
  { rules, unasked, problems }: SecCompiled,
): unknown {
  return {
    name,
    directory,
    sha256: read.sha256,
    files: read.files.size,
    rules: rules.length,
    notAsked: unasked.map(({ id, title, reason }) => ({ id, title, reason })),
    notes: problems.map(({ message, at }) => ({ message, line: `${at.file}:${at.line}` })),
  }
}

function show(
  name: string,
  shown: string,
  paranoia: number,
  compiled: SecCompiled,
  { terminal }: CommandContext,
): void {
  const { rules, unasked, problems } = compiled
  terminal.print(terminal.tone('good', `✓ ${counted(rules.length, 'rule')} imported into ${shown}.`), '')
  for (const [reason, own] of Map.groupBy(unasked, rule => rule.reason)) {
    terminal.print(terminal.wrap(`${counted(own.length, 'rule')} not asked: ${reason}.`, '  ', '  '))
  }
  for (const { at, message } of problems.slice(0, MAX_SHOWN)) {
    terminal.print(terminal.wrap(`${at.file}:${at.line}: ${message}`, '  ', '    '))
  }
  if (problems.length > MAX_SHOWN)
    terminal.print(`  and ${problems.length - MAX_SHOWN} more (--json shows all)`)
  terminal.print(
    '',
    'To use them, write in portcullis.yaml:',
    '',
    '  rules:',
    '    imported:',
    `      ${name}: { paranoia: ${paranoia}, threshold: 5, mode: detect }`,
    '',
    terminal.wrap(
      `They watch at first. Exclusions of your own go into ${OWN_FILES.before} and ${OWN_FILES.after} beside ${MANIFEST}; they stay at the next import.`,
      '',
      '',
    ),
  )
}
