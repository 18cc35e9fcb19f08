// The policy's exceptions from rules: which rules each concerns, and whether it is narrow enough.
import { FIELD_NAMES, readField } from '../ips/fields/field.ts'
import type { RuleException } from '../ips/rule-document.ts'
import { fieldOfVariable, variablesOf } from '../ips/seclang/fields.ts'
import type { RuleChoice } from './choose-rules.ts'
import { defined } from './compile-rules.ts'
import { warnOfEnd } from './compile-sources.ts'
import type { Reporter } from './context.ts'
import type { Path } from './read.ts'
import type { NamedRule } from './rule-modes.ts'
import type { WrittenPolicy } from './schema.ts'
import { suggestion } from './spelling.ts'

type WrittenException = WrittenPolicy['rules']['exceptions'][number]

/**
 * Exceptions by rule id.
 * @param chosen packs in use
 */
export function policyExceptions(
  written: readonly WrittenException[],
  documents: readonly NamedRule[],
  chosen: ReadonlySet<string>,
  choice: Pick<RuleChoice, 'siteIds' | 'nowMs'>,
  report: Reporter,
): ReadonlyMap<string, readonly RuleException[]> {
  const out = new Map<string, RuleException[]>()
  for (const [index, entry] of written.entries()) {
    const path: Path = ['rules', 'exceptions', index]
    const targets = targetsOf(entry, documents, path, report)
    if (targets === null) continue
    const { rule, tag, pack, expires, sources, ...rest } = entry
    const what = rule === undefined ? (tag === undefined ? `pack ${pack}` : `tag ${tag}`) : `rule ${rule}`
    if (!targets.some(target => chosen.has(target.pack))) {
      const packs = [...new Set(targets.map(target => target.pack))].join(', ')
      report.warn([...path, keyOf(entry)], `${what} is in pack ${packs}, which is not in use`)
    }
    if (entry.paths === undefined && entry.sources === undefined && entry.sites === undefined) {
      report.error(
        path,
        'an exception needs at least one of paths, sources and sites',
        `to switch the rule off everywhere, write modes: { ${rule ?? 'its-id'}: off }`,
      )
      continue
    }
    for (const [number, site] of (entry.sites ?? []).entries()) {
      if (choice.siteIds.includes(site)) continue
      report.error(
        [...path, 'sites', number],
        `there is no site ${JSON.stringify(site)}`,
        suggestion(site, choice.siteIds) ?? undefined,
      )
    }
    if (targets.every(target => target.isImported) && !areImportedFields(entry.fields ?? [], path, report)) {
      continue
    }
    warnOfEnd([...path, 'expires'], `the exception from ${what}`, expires, choice.nowMs, report)
    const exception: RuleException = {
      ...defined(rest),
      ...(sources === undefined ? {} : { sources: sources.map(range => range.text) }),
      expiresMs: expires,
      at: report.at(path),
    }
    for (const { id } of targets) {
      const exceptions = out.get(id)
      if (exceptions === undefined) out.set(id, [exception])
      else exceptions.push(exception)
    }
  }
  return out
}

/** Whether imported rules can look at all of the fields; an exception for others would do nothing. */
function areImportedFields(fields: readonly string[], path: Path, report: Reporter): boolean {
  const wrong = [...fields.entries()].filter(([, field]) => variablesOf(field).length === 0)
  for (const [index, field] of wrong) {
    const isField = readField(field) !== undefined
    const meant = fieldOfVariable(field)
    report.error(
      [...path, 'fields', index],
      isField ? `imported rules do not look at ${field}` : `there is no field ${field}`,
      isField
        ? 'the hits of the rule show the field'
        : meant === field || readField(meant) === undefined
          ? (suggestion(field, FIELD_NAMES) ?? undefined)
          : `did you mean ${JSON.stringify(meant)}?`,
    )
  }
  return wrong.length === 0
}

function keyOf({ rule, tag }: WrittenException): 'rule' | 'tag' | 'pack' {
  return rule !== undefined ? 'rule' : tag !== undefined ? 'tag' : 'pack'
}

/** The rules that an exception is for; null when it says nothing that can be followed. */
function targetsOf(
  entry: WrittenException,
  documents: readonly NamedRule[],
  path: Path,
  report: Reporter,
): readonly NamedRule[] | null {
  const { rule, tag, pack } = entry
  const named = [rule, tag, pack].filter(text => text !== undefined)
  const [id] = named
  if (id === undefined || named.length > 1) {
    report.error(path, 'an exception is for exactly one of rule, tag and pack')
    return null
  }
  const key = keyOf(entry)
  const namesOf = (document: NamedRule): readonly string[] =>
    key === 'rule' ? [document.id] : key === 'tag' ? document.tags : [document.pack]
  const targets = documents.filter(document => namesOf(document).includes(id))
  if (targets.length > 0) return targets
  const what = { rule: 'rule', tag: 'rule with the tag', pack: 'rule pack' }[key]
  const known = [...new Set(documents.flatMap(namesOf))]
  report.error(
    [...path, key],
    `there is no ${what} ${JSON.stringify(id)}`,
    suggestion(id, known) ?? undefined,
  )
  return null
}
