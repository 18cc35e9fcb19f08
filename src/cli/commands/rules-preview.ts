// portcullis rules preview: what rules that only detect would have refused, from recorded detections; known agents first.
import type { RuleEffect } from '../../journal/store-rules.ts'
import { usageError, type CommandArguments, type CommandContext } from '../command.ts'
import { counted, formatAgo, formatSpan, parseDuration } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import { requireRule } from './rules-show.ts'

const SHOWN = 20
/** Exit code when a known agent would have been refused. */
const AGENTS = 3

/** Runs it, for one rule or for all that have detections. */
export async function previewRules(args: CommandArguments, context: CommandContext): Promise<number> {
  const text = args.text('since') ?? '14d'
  const spanMs = parseDuration(text)
  if (spanMs === undefined) throw usageError(`"${text}" is not a time`, 'Write 24h, 7d or 14d.')
  const { snapshot } = requirePolicy(args, context)
  const wanted = args.positionals[1]
  const ids = wanted === undefined ? null : [requireRule(wanted, snapshot, 'preview').id]
  const { terminal } = context
  await askGate(snapshot, 'POST', '/v1/flush')
  const store = openStore(snapshot)
  if (store === undefined) {
    if (args.flag('json')) terminal.json([])
    else terminal.print(`Nothing has been recorded yet in ${snapshot.directories.state}.`)
    return 0
  }
  let effects: readonly RuleEffect[]
  try {
    effects = store.rules.effects(ids, context.nowMs() - spanMs)
  } finally {
    store.close()
  }
  if (args.flag('json')) terminal.json(effects)
  else show(effects, spanMs, context)
  return effects.some(effect => effect.knownAgents > 0) ? AGENTS : 0
}

function show(effects: readonly RuleEffect[], spanMs: number, { terminal, nowMs }: CommandContext): void {
  if (effects.every(effect => effect.hits === 0)) {
    terminal.print(
      terminal.tone('good', `✓ Nothing would have been refused in the last ${formatSpan(spanMs)}.`),
    )
    return
  }
  for (const effect of effects.toSorted((a, b) => b.knownAgents - a.knownAgents || b.hits - a.hits)) {
    const sentence = `${effect.ruleId} would have refused ${counted(effect.hits, 'request')} of ${counted(effect.sourceCount, 'source')} in the last ${formatSpan(spanMs)}, ${effect.knownAgents === 0 ? 'none of them a known agent' : `${effect.knownAgents} of them known agents`}.`
    terminal.print(
      terminal.tone(effect.knownAgents > 0 ? 'bad' : 'warn', sentence),
      terminal.table(
        effect.sources
          .slice(0, SHOWN)
          .map(source => [
            source.address,
            source.site ?? '-',
            source.knownAgent ? terminal.tone('bad', 'known agent') : '-',
            counted(source.hits, 'request'),
            formatAgo(source.lastMs, nowMs()),
          ]),
        '  ',
      ),
    )
    if (effect.sourceCount > SHOWN) terminal.print(`  and ${effect.sourceCount - SHOWN} more`)
    if (effect.incomplete)
      terminal.print('  There were more detections than are read at once: the numbers are too small.')
    terminal.print('')
  }
  terminal.print('See what was seen: portcullis events --name rule.detected')
}
