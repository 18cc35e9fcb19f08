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

function toDocument({ product, rate, ...rule }: Loose, pack: string, at: SourceLine): RuleDocument {
  const tests = (rule['tests'] ?? {}) as { fires?: unknown[]; quiet?: unknown[] }
  return {
    mode: 'enforce',
    tags: [],
    refs: [],
    classes: null,
    methods: null,
    phase: null,
    action: 'block',
    overrides: [],
    notFor: [],
    ...rule,
    products: product === undefined ? null : [product].flat(),
    rate: rate === undefined ? null : toRate(rate as Loose),
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

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 }

function toMs(text: unknown): number {
  const match = /^(\d+)(s|m|h)$/.exec(String(text))
  return Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN)
}

function toRate({ over, per, by = 'source', user = null, on = 'request', hold }: Loose): unknown {
  return { over, perMs: toMs(per), by, userField: user, on, holdMs: toMs(hold) }
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
  if (typeof entry === 'string') return { request: entry, at }
  const { within, ...rest } = entry as Loose
  const written = { request: null, ...rest } as Omit<RuleTestRequest, 'at'>
  return within === undefined ? { ...written, at } : { ...written, withinMs: toMs(within), at }
}
