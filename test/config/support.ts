// A throw-away policy directory for configuration tests: a small valid policy, parts replaceable.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { loadPolicy, type LoadResult } from '../../src/config/load.ts'
import { renderProblem } from '../../src/config/problems.ts'
import type { Snapshot } from '../../src/policy/snapshot.ts'

/** 2026-11-21, the "today" of these tests. */
export const NOW_MS = Date.UTC(2026, 10, 21)

/** A valid policy; its lines are what the table of mistakes replaces. */
export const GOOD_POLICY = `version: 1
home: [US]
model: all-traffic
profile: tiny
listeners:
  https: { address: "127.0.0.1:8443" }
names:
  rmm.example.test: { upstream: rmm }
upstreams:
  rmm: { primary: "http://127.0.0.1:9080" }
`

/** A small valid profile. */
export const GOOD_PROFILE = `version: 1
product: Tiny RMM
caseSensitive: false
classes:
  - { class: console, path: /Agent/Console.asmx }
  - { class: agent, path: /Agent }
  - { class: enroll, path: /Deploy }
forwardedHeaders: [x-forwarded-for]
health: { path: /Agent/Health }
packs: [generic]
`

/** A small valid rule pack. */
export const GOOD_RULES = `pack: generic
rules:
  - id: no-secrets
    title: Secret page
    severity: high
    when: { in: path, matches: '^/secret' }
    tests: { fires: [GET /secret], quiet: [GET /public] }
`

/** A policy directory with these files, removed after the test. */
export function policyDirectory(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>> = {},
): string {
  const root = mkdtempSync(join(tmpdir(), 'portcullis-config-'))
  t.teardown(() => {
    rmSync(root, { recursive: true, force: true })
  })
  const directory = join(root, 'policies')
  const all: Readonly<Record<string, string | Uint8Array>> = {
    'portcullis.yaml': GOOD_POLICY,
    'profiles/tiny.yaml': GOOD_PROFILE,
    'rules/generic.yaml': GOOD_RULES,
    ...files,
  }
  for (const [name, content] of Object.entries(all)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  return directory
}

/** Loads a policy directory as of today. */
export function load(directory: string): LoadResult {
  return loadPolicy({ directory, nowMs: NOW_MS })
}

/** The snapshot of a policy text; a failed assertion shows the problems. */
export function snapshotOf(
  t: ExecutionContext,
  policy: string,
  files: Readonly<Record<string, string>> = {},
): { readonly snapshot: Snapshot; readonly warnings: readonly string[] } {
  const result = load(policyDirectory(t, { 'portcullis.yaml': policy, ...files }))
  if (!result.ok) throw new Error(result.problems.map(renderProblem).join('\n'))
  return { snapshot: result.snapshot, warnings: result.warnings.map(warning => warning.message) }
}
