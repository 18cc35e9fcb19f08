// Loads the policy: all files of a policy directory in, one immutable snapshot or every problem out. Never throws for bad input.
import { join, resolve } from 'node:path'
import type { Snapshot } from '../policy/snapshot.ts'
import { compilePolicy, type Disk } from './compile.ts'
import { reporter, type Findings } from './context.ts'
import { digestOf, readWhole, yamlFiles } from './files.ts'
import { problemAt, sortProblems, type Problem } from './problems.ts'
import { MAX_FILE_BYTES, decodeText, readYaml, type YamlSource } from './read.ts'

/** Where the policy is and what the gate knows besides. */
export type LoadOptions = {
  /** Absolute path of the policy directory. */
  readonly directory: string
  /** The policy file in it; `portcullis.yaml` when left out. */
  readonly file?: string
  /** Milliseconds since the epoch: what has expired is judged by it. */
  readonly nowMs: number
  /** Absolute path that takes the place of `directories.state`. */
  readonly stateDir?: string
  /**
   * Absolute path of the directory that the policy is meant for, when it is read from elsewhere (a candidate, an older
   * version): other directories are relative to it.
   */
  readonly meantFor?: string
  /** How messages name the policy directory; `policies` when left out. */
  readonly label?: string
  /**
   * True: something is looked up in the policy, and no traffic depends on it. Rules are read and checked, but their tests are
   * not run, and they are made ready when they are asked first: that is most of the time that loading takes.
   */
  readonly forReading?: boolean
}

/** A snapshot with its warnings, or everything that is wrong. */
export type LoadResult =
  | { readonly ok: true; readonly snapshot: Snapshot; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** The policy file's usual name. */
export const POLICY_FILE = 'portcullis.yaml'

/** Reads, validates and compiles the policy. Synchronous: loads are rare, and nothing may change half-way. */
export function loadPolicy(options: LoadOptions): LoadResult {
  const file = options.file ?? POLICY_FILE
  const label = options.label ?? 'policies'
  const findings: Findings = { problems: [], warnings: [] }
  const disk = openDisk(options.directory, label, findings)
  try {
    const source = disk.yaml(file)
    if (source === null) return failed(findings)
    const snapshot = compilePolicy(source, disk, {
      directory: options.meantFor ?? options.directory,
      nowMs: options.nowMs,
      stateDir: options.stateDir ?? null,
      forReading: options.forReading ?? false,
      findings,
    })
    if (snapshot === null || findings.problems.length > 0) return failed(findings)
    return {
      ok: true,
      snapshot: { ...snapshot, id: disk.digest(), files: disk.files() },
      warnings: sortProblems(findings.warnings),
    }
  } catch (error) {
    // A defect of this program must not take the gate down at a reload: the last good policy stays.
    const message = `the policy could not be compiled: ${error instanceof Error ? error.message : String(error)}`
    findings.problems.push(
      problemAt(
        { file: `${label}/${file}`, line: 0, column: 0 },
        [],
        message,
        'this is a defect: please report it',
      ),
    )
    return failed(findings)
  }
}

function failed(findings: Findings): LoadResult {
  const seen = new Set<string>()
  const problems = sortProblems(findings.problems).filter(problem => {
    const key = `${problem.file}:${problem.line}:${problem.column}:${problem.message}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
  return { ok: false, problems }
}

function openDisk(
  directory: string,
  label: string,
  findings: Findings,
): Disk & { readonly digest: () => string; readonly files: () => readonly string[] } {
  const read = new Map<string, { readonly path: string; readonly bytes: Uint8Array }>()
  const bytesOf = (name: string, path: string): ReturnType<typeof readWhole> => {
    const result = readWhole(path, MAX_FILE_BYTES)
    if (result.ok) read.set(name, { path, bytes: result.bytes })
    return result
  }
  return {
    shown: name => `${label}/${name}`,
    yaml(name): YamlSource | null {
      const shown = `${label}/${name}`
      const report = reporter(findings, [], () => ({ file: shown, line: 0, column: 0 }))
      const result = bytesOf(name, join(directory, name))
      if (!result.ok) {
        report.error([], result.problem, result.hint ?? undefined)
        return null
      }
      const text = decodeText(result.bytes)
      if ('problem' in text) {
        report.error([], text.problem)
        return null
      }
      const parsed = readYaml(shown, text.text)
      if (parsed.ok) {
        // A copy that broke off can leave a valid beginning; it rarely ends at the end of a line.
        if (!text.text.endsWith('\n')) {
          const { lines } = parsed.source
          const end = { file: shown, line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 }
          findings.warnings.push(
            problemAt(
              end,
              lines,
              'the last line does not end: is the file complete?',
              'add a line break at the end',
            ),
          )
        }
        return parsed.source
      }
      findings.problems.push(...parsed.problems)
      return null
    },
    bytes(path) {
      const result = bytesOf(path, resolve(directory, path))
      return result.ok ? { bytes: result.bytes } : { problem: result.problem, missing: result.missing }
    },
    list: folder => yamlFiles(join(directory, folder)),
    text(path) {
      const result = bytesOf(path, resolve(directory, path))
      return result.ok ? decodeText(result.bytes) : { problem: result.problem }
    },
    digest: () => digestOf([...read].map(([name, { bytes }]) => ({ name, bytes }))),
    files: () => [...read.values()].map(entry => entry.path),
  }
}
