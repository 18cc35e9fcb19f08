// portcullis events: what happened, newest last, from the store; with or without a running gate.
import type { EventQuery, StoredEvent } from '../../journal/store-events.ts'
import { sentenceOfRow } from '../../journal/catalogue.ts'
import { parseCidr } from '../../net/cidr.ts'
import { usageError, type Command, type CommandArguments, type CommandContext } from '../command.ts'
import { formatTime, parseDuration } from '../format.ts'
import { askGate, openStore, requirePolicy } from '../gate-access.ts'
import type { Terminal } from '../terminal.ts'

const SEVERITIES = ['debug', 'info', 'warning', 'error'] as const

export const eventsCommand: Command = {
  name: 'events',
  usage: 'events [<address or range>] [--since 24h] [--severity warning] [--site <id>] [--name <event>]',
  summary: 'What happened, newest last',
  examples: [
    'portcullis events --severity warning',
    'portcullis events 203.0.113.0/24 --since 7d',
    'portcullis events --site acme --json',
  ],
  options: {
    since: { type: 'string', value: '<time>', help: 'how far back: 30m, 4h, 7d (default: 24h)' },
    severity: { type: 'string', value: '<level>', help: 'at least debug, info, warning or error' },
    site: { type: 'string', value: '<id>', help: 'only of this site' },
    class: { type: 'string', value: '<class>', help: 'only of this class' },
    reason: { type: 'string', value: '<reason>', help: 'only refusals with this reason' },
    name: { type: 'string', value: '<event>', help: 'only this event, for example connection.refused' },
    limit: {
      type: 'string',
      short: 'n',
      value: '<count>',
      help: 'at most this many (default: 50, at most 1000)',
    },
  },
  run: async (args, context) => {
    const query = queryOf(args, context)
    const { snapshot } = requirePolicy(args, context)
    await askGate(snapshot, 'POST', '/v1/flush')
    const store = openStore(snapshot)
    const { terminal } = context
    if (store === undefined) {
      if (args.flag('json')) terminal.json([])
      else
        terminal.print(
          `Nothing has been recorded yet in ${snapshot.directories.state}: no gate has run with this policy.`,
        )
      return 0
    }
    try {
      const found = store.events.find(query).toReversed()
      if (args.flag('json')) terminal.json(found)
      else if (found.length === 0) terminal.print('Nothing matches.')
      else terminal.print(terminal.table(found.map(event => rowOf(event, terminal))))
      return 0
    } finally {
      store.close()
    }
  },
}

function queryOf(args: CommandArguments, context: CommandContext): EventQuery {
  const since = args.text('since') ?? '24h'
  const sinceMs = parseDuration(since)
  if (sinceMs === undefined) throw usageError(`"${since}" is not a time`, 'Write 30m, 4h or 7d.')
  const severity = args.text('severity')
  const minimumSeverity = SEVERITIES.find(entry => entry === severity)
  if (severity !== undefined && minimumSeverity === undefined) {
    throw usageError(`there is no severity "${severity}"`, `It is one of ${SEVERITIES.join(', ')}.`)
  }
  const limit = Number(args.text('limit') ?? 50)
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
    throw usageError('--limit is a number from 1 to 1000', 'For example -n 200.')
  const rangeText = args.positionals[0]
  const range = rangeText === undefined ? undefined : parseCidr(rangeText)
  if (typeof range === 'string')
    throw usageError(`"${rangeText}" is not an address or range`, 'For example 203.0.113.0/24.')
  const [name, site, trafficClass, reason] = [
    args.text('name'),
    args.text('site'),
    args.text('class'),
    args.text('reason'),
  ]
  return {
    sinceMs: context.nowMs() - sinceMs,
    limit,
    ...(minimumSeverity === undefined ? {} : { minimumSeverity }),
    ...(name === undefined ? {} : { name }),
    ...(site === undefined ? {} : { site }),
    ...(trafficClass === undefined ? {} : { class: trafficClass }),
    ...(reason === undefined ? {} : { reason }),
    ...(range === undefined ? {} : { range }),
  }
}

/** One event as a row: time, severity in colour, sentence. */
function rowOf(event: StoredEvent, terminal: Terminal): readonly string[] {
  const tone = event.severity === 'error' ? 'bad' : event.severity === 'warning' ? 'warn' : 'dim'
  return [
    formatTime(event.timeMs),
    terminal.tone(tone, event.severity),
    sentenceOfRow(event.name, event.fields) ?? event.name,
  ]
}
