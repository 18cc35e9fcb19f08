// portcullis exceptions: what deviates from the policy for a time, who answers for it, and whether anything still needs it.
import { buildOverlay } from '../../journal/store-overlay.ts'
import type { Command } from '../command.ts'
import type { ListedException } from '../../policy/expiring.ts'
import { listExceptions } from '../exception-list.ts'
import { counted, formatAgo, formatDay } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import type { Terminal } from '../terminal.ts'

const SOON_MS = 14 * 86_400_000

export const exceptionsCommand: Command = {
  name: 'exceptions',
  usage: 'exceptions',
  summary: 'Exceptions that end by themselves: who, why, until when, last used',
  examples: ['portcullis exceptions', 'portcullis exceptions --ended', 'portcullis exceptions --json'],
  options: { ended: { type: 'boolean', help: 'only those that have ended: their lines can be removed' } },
  run: async (args, context) => {
    const { terminal } = context
    const nowMs = context.nowMs()
    const { snapshot } = requirePolicy(args, context)
    await askGate(snapshot, 'POST', '/v1/flush')
    const store = openStore(snapshot)
    let all
    try {
      const overlay = buildOverlay(store?.overlay.list() ?? [])
      all = listExceptions(snapshot, overlay, store, nowMs).filter(
        entry => !args.flag('ended') || entry.ended,
      )
    } finally {
      store?.close()
    }
    if (args.flag('json')) {
      terminal.json(all)
      return 0
    }
    if (all.length === 0) {
      terminal.print(args.flag('ended') ? 'No exception has ended.' : 'There are no exceptions.')
      return 0
    }
    terminal.print(terminal.table(all.map(entry => row(entry, nowMs, terminal))))
    const ended = all.filter(entry => entry.ended).length
    const soon = all.filter(entry => isSoon(entry, nowMs)).length
    const unused = all.filter(entry => !entry.ended && entry.lastUsedMs === null).length
    terminal.print(
      '',
      `${counted(all.length, 'exception')}: ${ended} ended, ${soon} within 14 days, ${unused} not used in the last 30 days.`,
    )
    return 0
  },
}

function isSoon({ ended, expiresMs }: ListedException, nowMs: number): boolean {
  return !ended && expiresMs !== null && expiresMs - nowMs <= SOON_MS
}

function row(entry: ListedException, nowMs: number, terminal: Terminal): readonly string[] {
  const { kind, what, reason, owner, expiresMs, ended, line, lastUsedMs } = entry
  const end =
    expiresMs === null
      ? terminal.tone('warn', 'no end')
      : ended
        ? terminal.tone('bad', `ended ${formatDay(expiresMs - 1)}`)
        : terminal.tone(isSoon(entry, nowMs) ? 'warn' : 'good', `till ${formatDay(expiresMs - 1)}`)
  const used = lastUsedMs === null ? 'not used' : `used ${formatAgo(lastUsedMs, nowMs)}`
  return [kind, what, end, used, `${reason} (${owner}) ${terminal.tone('dim', line)}`]
}
