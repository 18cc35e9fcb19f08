// A diagnosis as a block of Markdown for a ticket system: complete enough to act on, and nothing in it that may not leave the house.
import { diagnose } from '../diagnose/diagnosis.ts'
import { redactText } from '../journal/redact.ts'
import { countryWord } from '../policy/who.ts'
import type { Evidence } from '../diagnose/finding.ts'
import type { Gathered } from './evidence.ts'
import { outcomeWord } from './diagnosis-report.ts'
import { formatTime } from './format.ts'

/** The block. Texts that clients chose stand in code, where Markdown and mentions mean nothing. */
export function ticketOf(gathered: Gathered): string {
  const { activity } = gathered
  const evidence = withoutValues(gathered.evidence)
  const { explanation, nowMs, device, address } = evidence
  const { sentence, cause, fix, evidence: proofs } = diagnose(evidence)
  const { site, country } = explanation.standing
  const { first, second } = explanation.country
  const lines = [
    `### Portcullis: ${address}${device === null ? '' : `, client ${device}`}`,
    '',
    `**Cause: ${cause}.** ${prose(withoutDirectories(sentence))}`,
    '',
    `- Diagnosed: ${formatTime(nowMs)}`,
    `- Site: ${site === null ? 'none recorded' : code(`${site.id} (${site.name})`)}`,
    `- Country: ${countryWord(country)} (databases: ${first ?? 'no answer'}, ${second ?? 'no answer'})`,
  ]
  if (activity !== null)
    lines.push(
      `- Last 24 hours: ${activity.passed} passed, ${activity.refused} refused, ${activity.failures} ended badly`,
    )
  for (const entry of activity?.outcomes ?? [])
    lines.push(`  - ${entry.count} ${outcomeWord(entry.outcome)}, last ${formatTime(entry.lastMs)}`)
  for (const entry of evidence.devices.filter(own => device === null || own.ja4 === device).slice(0, 6))
    lines.push(
      `- Client ${code(entry.ja4)}: offers ${entry.offered.join(', ')}, ${entry.passed} passed, ${entry.refused} refused`,
    )
  if (proofs.length > 0) lines.push('', '**Evidence**', '')
  for (const { atMs, text } of proofs)
    lines.push(`- ${atMs === null ? 'now' : formatTime(atMs)}: ${code(redactText(withoutDirectories(text)))}`)
  if (fix !== null) {
    lines.push('', '**What to do**', '')
    for (const step of fix.steps)
      lines.push(step.startsWith('  ') ? `      ${step.trim()}` : `- ${prose(withoutDirectories(step))}`)
    if (fix.patch !== null) {
      lines.push('', `Patch for ${fix.patch.file}:`, '', '```yaml', fix.patch.yaml.trimEnd(), '```')
    }
  }
  lines.push(
    '',
    '_Left out: headers, cookies, query strings, bodies, what rules saw in them, and the text of user agents; values of secrets are redacted. Public addresses are kept, because support needs them._',
  )
  return lines.join('\n')
}

/** What a rule saw is a piece of a query or a body: nobody can tell what else is in it. The field that it stood in stays. */
function withoutValues(evidence: Evidence): Evidence {
  const { ruleHit } = evidence
  return ruleHit === null ? evidence : { ...evidence, ruleHit: { ...ruleHit, seen: null } }
}

// `/home/jane/portcullis/policies/rules/x.yaml:3:9` names more than the line that decided.
const DIRECTORY = /(?<=^|[\s(])\/[^:]{0,400}?\/(?=(?:rules\/|profiles\/)?[\w.-]+\.ya?ml:\d)/g

function withoutDirectories(text: string): string {
  return text.replaceAll(DIRECTORY, '')
}

/** Prose in which no letter means anything to Markdown. */
function prose(text: string): string {
  return redactText(text).replaceAll(/[\\`*_[\]<>|#@~]/g, letter => `\\${letter}`)
}

/** A code span around any text (CommonMark: longer fences than any inside). */
function code(text: string): string {
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map(run => run.length))
  const fence = '`'.repeat(longest + 1)
  const pad = text.startsWith('`') || text.endsWith('`') ? ' ' : ''
  return `${fence}${pad}${text}${pad}${fence}`
}
