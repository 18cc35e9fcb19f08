// Reads the shipped rule files for tests, as plainly as can be: positions are the line of the rule only.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { RuleCondition, RuleDocument, RuleTestRequest } from '../../src/ips/rule-document.ts'
import type { SourceLine } from '../../src/policy/source-line.ts'

type Loose = Record<string, unknown>

const directory = join(import.meta.dirname, '../../policies/rules')

/** Every shipped rule. */
export function shippedRules(): RuleDocument[] {
  return readdirSync(directory)
    .filter(file => file.endsWith('.yaml'))
    .flatMap(file => readRules(readFileSync(join(directory, file), 'utf8'), file))
}

/** Rules of a YAML text. */
export function readRules(text: string, file = 'test.yaml'): RuleDocument[] {
  const { pack, rules } = parse(text) as { pack: string; rules: Loose[] }
  return rules.map(rule => {
    const line = text.slice(0, text.indexOf(`id: ${String(rule['id'])}`)).split('\n').length
    return toDocument(rule, pack, { file, line, column: 1 })
  })
}

function toDocument(rule: Loose, pack: string, at: SourceLine): RuleDocument {
  const tests = (rule['tests'] ?? {}) as { fires?: unknown[]; quiet?: unknown[] }
  return {
    mode: 'enforce',
    tags: [],
    refs: [],
    classes: null,
    methods: null,
    ...rule,
    pack,
    when: toCondition(rule['when'] as Loose, at),
    except: ((rule['except'] ?? []) as Loose[]).map(entry => ({
      ...entry,
      expiresMs: Date.parse(String(entry['expires'])),
      at,
    })),
    tests: {
      fires: (tests.fires ?? []).map(entry => toRequest(entry, at)),
      quiet: (tests.quiet ?? []).map(entry => toRequest(entry, at)),
    },
    at,
  } as unknown as RuleDocument
}

function toCondition(when: Loose, at: SourceLine): RuleCondition {
  if ('all' in when) return { all: (when['all'] as Loose[]).map(part => toCondition(part, at)) }
  if ('any' in when) return { any: (when['any'] as Loose[]).map(part => toCondition(part, at)) }
  if ('not' in when) return { not: toCondition(when['not'] as Loose, at) }
  const listed = Object.entries(when).map(([key, value]) => [
    key,
    typeof value === 'string' ? [value] : value,
  ])
  return { ...Object.fromEntries(listed), at } as RuleCondition
}

function toRequest(entry: unknown, at: SourceLine): RuleTestRequest {
  return typeof entry === 'string'
    ? { request: entry, at }
    : { ...(entry as Omit<RuleTestRequest, 'at'>), at }
}
