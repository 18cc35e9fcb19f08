// Generates docs/policy-reference.md from the schemas, so that it cannot say anything else than the gate does.
import { z } from 'zod'
import { CLASSES } from '../policy/classes.ts'
import { builtInLimits, modelAccess, tlsProfiles } from './defaults.ts'
import { limitsText } from './describe.ts'
import { connectorFile } from './schema-connector.ts'
import { policyFile } from './schema.ts'
import { profileFile } from './schema-profile.ts'
import { ruleFile } from './schema-rules.ts'
import { streamProfileFile } from './schema-streams.ts'

type Json = {
  readonly type?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: string | number
  readonly enum?: readonly string[]
  readonly examples?: readonly string[]
  readonly properties?: Readonly<Record<string, Json>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Json | boolean
  readonly propertyNames?: Json
  readonly items?: Json
  readonly anyOf?: readonly Json[]
  readonly $ref?: string
}

/** The text of docs/policy-reference.md. */
export function policyReference(): string {
  return [
    '# Policy reference',
    '',
    'Generated from the schemas of the policy files (`npm run generate`); do not edit.',
    'The same texts appear in editors that know the YAML language server.',
    '',
    'A policy is a directory: `portcullis.yaml`, the RMM products in `profiles/`, what products need of raw TCP in `streams/`, the rule packs in `rules/`.',
    '`bin/portcullis check` validates all of it; `bin/portcullis check --effective` shows what it comes to.',
    'A changed file takes effect by itself when it is right; while it is wrong, the last right policy stays in force.',
    '',
    '- Durations are number and unit: `500ms`, `30s`, `10m`, `2h`, `7d`. Sizes: `64KiB`, `10MiB`, `2GiB`.',
    '- Where a list is expected, a single value may stand without brackets.',
    '- Times of day are UTC. A date is the last day on which something holds.',
    '- Anchors, aliases, tags and repeated keys are refused; unknown keys are errors.',
    '',
    ...modelTable(),
    ...limitTable(),
    ...tlsTable(),
    ...describeFile('portcullis.yaml', policyFile),
    ...describeFile('profiles/*.yaml', profileFile),
    ...describeFile('streams/*.yaml', streamProfileFile),
    ...describeFile('rules/*.yaml', ruleFile),
    ...describeFile('connector.yaml', connectorFile),
  ].join('\n')
}

function modelTable(): readonly string[] {
  const models = ['all-traffic', 'agent-only', 'mixed'] as const
  return [
    '## What the deployment models open',
    '',
    table(
      ['class', ...models],
      CLASSES.map(entry => [`\`${entry}\``, ...models.map(model => modelAccess(model, entry))]),
    ),
    '',
    'Open means open to the countries of the class: the home countries unless the class says more. `other` is whatever no profile names.',
    '',
  ]
}

function limitTable(): readonly string[] {
  const keys = Object.keys(limitsText(builtInLimits('agent')))
  return [
    '## Built-in limits by class',
    '',
    'Profiles and the policy may state others. With several products behind one gate the widest limits of their profiles hold.',
    '',
    table(
      ['class', ...keys],
      CLASSES.map(entry => [`\`${entry}\``, ...Object.values(limitsText(builtInLimits(entry)))]),
    ),
    '',
  ]
}

function tlsTable(): readonly string[] {
  return [
    '## TLS profiles',
    '',
    table(
      ['profile', 'minimum', 'ciphers'],
      [...tlsProfiles().values()].map(entry => [
        `\`${entry.name}\``,
        entry.minimum,
        entry.ciphers
          .split(':')
          .map(cipher => `\`${cipher}\``)
          .join(' '),
      ]),
    ),
    '',
  ]
}

function describeFile(title: string, schema: z.ZodType): readonly string[] {
  const json = z.toJSONSchema(schema, { io: 'input', target: 'draft-7' }) as Json
  const out: string[] = [`## ${title}`, '']
  const seen = new Map<string, string>()
  section(json, '', seen, out)
  return out
}

function section(schema: Json, path: string, seen: Map<string, string>, out: string[]): void {
  const properties = Object.entries(schema.properties ?? {})
  if (properties.length === 0) return
  const key = JSON.stringify(schema.properties)
  seen.set(key, path)
  if (path !== '') out.push(`### \`${path}\``, '')
  if (schema.description !== undefined && path !== '') out.push(schema.description, '')
  out.push(
    table(
      ['key', 'value', 'default', 'meaning'],
      properties.map(([name, value]) => [
        `\`${name}\``,
        valueWord(value),
        schema.required?.includes(name) === true ? 'required' : defaultWord(value.default),
        meaning(value),
      ]),
    ),
    '',
  )
  for (const [name, value] of properties) {
    for (const inner of blocks(value, path === '' ? name : `${path}.${name}`)) {
      const before = seen.get(JSON.stringify(inner.schema.properties))
      if (before === undefined) section(inner.schema, inner.path, seen, out)
      else out.push(`\`${inner.path}\` has the keys of [${before}](#${anchor(before)}).`, '')
    }
  }
}

function blocks(schema: Json, path: string): readonly { readonly schema: Json; readonly path: string }[] {
  if (schema.properties !== undefined) return [{ schema, path }]
  if (typeof schema.additionalProperties === 'object') {
    const choice = schema.propertyNames?.enum
    const inner = blocks(schema.additionalProperties, `${path}.<${choice === undefined ? 'id' : 'class'}>`)
    return inner
  }
  if (schema.items !== undefined) return blocks(schema.items, `${path}[]`)
  const found = new Map<string, { readonly schema: Json; readonly path: string }>()
  for (const choice of schema.anyOf ?? []) {
    for (const inner of blocks(choice, path)) found.set(JSON.stringify(inner.schema.properties), inner)
  }
  return [...found.values()].slice(0, 1)
}

function meaning(schema: Json): string {
  if (schema.description !== undefined) return schema.description
  const inner = schema.items ?? schema.anyOf?.[0]
  return inner === undefined ? '' : meaning(inner)
}

function valueWord(schema: Json): string {
  if (schema.const !== undefined) return `\`${schema.const}\``
  if (schema.enum !== undefined) return schema.enum.map(entry => `\`${entry}\``).join(', ')
  if (schema.$ref !== undefined) return schema.$ref.split('/').at(-1) ?? ''
  if (schema.anyOf !== undefined) {
    const words = new Set(schema.anyOf.filter(entry => entry.type !== 'null').map(entry => valueWord(entry)))
    const list = [...words]
    const [first = ''] = list
    if (list.length === 2 && first === `list of ${list[1]}`) return `${list[1]}, or a list`
    return list.join(', or ')
  }
  if (schema.type === 'array')
    return `list of ${schema.items === undefined ? 'values' : valueWord(schema.items)}`
  if (schema.type === 'object') return 'block'
  if (schema.examples !== undefined && schema.examples.length > 0) return `\`${schema.examples[0] ?? ''}\``
  if (schema.type === 'string') return 'text'
  if (schema.type === 'boolean') return '`true` or `false`'
  return schema.type === 'integer' || schema.type === 'number' ? 'number' : 'any value'
}

function defaultWord(value: unknown): string {
  if (value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text === '{}' || text === '[]' ? '' : `\`${text}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-')
}
