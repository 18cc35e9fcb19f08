// portcullis status: what the running gate does now.
import type { Health } from '../../admin/health.ts'
import type { GateStatus, MemberState } from '../../admin/status.ts'
import { goneWords } from '../../diagnose/heartbeats.ts'
import { daysLeft } from '../certificate-report.ts'
import { readCutover } from '../cutover-record.ts'
import type { Command, CommandContext } from '../command.ts'
import { invitationRows } from '../invitation-list.ts'
import { databaseAge, databaseName } from '../databases.ts'
import { counted, formatAgo, formatBytes, formatDuration, formatTime } from '../format.ts'
import { lastGoodPolicy, requireGate } from '../gate-access.ts'
import type { Terminal } from '../terminal.ts'

export const statusCommand: Command = {
  name: 'status',
  usage: 'status [--connections] [--strict]',
  summary: 'Whether the running gate is healthy, and what it does now',
  examples: ['portcullis status', 'portcullis status --connections', 'portcullis status --json'],
  options: {
    connections: { type: 'boolean', short: 'c', help: 'list the open connections' },
    strict: {
      type: 'boolean',
      help: 'end with 1 for anything to look at, too, not only when somebody is cut off',
    },
  },
  run: async (args, context) => {
    const snapshot = lastGoodPolicy(args, context)
    const status = (await requireGate(snapshot, 'GET', '/v1/status')) as GateStatus & {
      readonly health: Health
    }
    const { health } = status
    if (args.flag('json')) context.terminal.json(status)
    else {
      context.terminal.print(...healthLines(health, context.terminal), '')
      show(status, args.flag('connections'), snapshot.directories.state, context)
    }
    return health.state === 'broken' || (args.flag('strict') && health.state !== 'healthy') ? 1 : 0
  },
}

/** The sentence of the dashboard's overview, what to do, and what else there is to look at. */
function healthLines({ state, headline, sentence, next, findings }: Health, terminal: Terminal): string[] {
  const tone = state === 'healthy' ? 'good' : state === 'broken' ? 'bad' : 'warn'
  const lines = [terminal.wrap(`${terminal.tone(tone, `${headline}.`)} ${sentence}`)]
  if (next !== '') lines.push(terminal.wrap(next, '  ', '  '))
  for (const finding of findings.slice(1))
    lines.push(
      terminal.wrap(
        `${terminal.tone(finding.tone, finding.tone === 'bad' ? 'Also now:' : 'Also:')} ${finding.sentence} ${terminal.tone('dim', finding.next)}`.trimEnd(),
        '',
        '  ',
      ),
    )
  return lines
}

function show(
  status: GateStatus,
  withConnections: boolean,
  stateDir: string,
  { terminal }: CommandContext,
): void {
  const { nowMs, policy } = status
  terminal.print(
    `Portcullis ${status.version}, process ${status.pid}, up ${formatDuration(nowMs - status.startedMs)}, ${formatBytes(status.memory.rssBytes)} of memory`,
    '',
    `Policy      ${policy.directory}`,
    `            ${policy.model}, home ${policy.home.join(', ')}, ${counted(policy.sites, 'site')}, ${counted(policy.rules, 'rule')}; loaded ${formatAgo(policy.loadedMs, nowMs)}`,
  )
  for (const { stages, sites, expiresMs } of policy.trials ?? [])
    terminal.print(
      `On trial    ${terminal.tone('warn', stages.join(', '))}${sites === null ? '' : ` for ${sites.join(', ')}`} until ${formatTime(expiresMs)} (${formatAgo(expiresMs, nowMs)}); see: portcullis trial report`,
    )
  if (policy.rejected !== null) {
    terminal.print(
      terminal.tone(
        'bad',
        `            A newer policy was refused ${formatAgo(policy.rejected.atMs, nowMs)}; this one stays in force:`,
      ),
      ...policy.rejected.problems.map(problem =>
        terminal.wrap(problem.split('\n')[0] ?? '', '              ', '  '),
      ),
    )
  }
  const listeners = status.listeners.map(entry => `${entry.listener} on ${entry.host}:${entry.port}`)
  terminal.print(
    `Listeners   ${listeners.length === 0 ? terminal.tone('bad', 'none') : listeners.join(', ')}`,
    `Open        ${status.open.connections} of ${status.open.max} connections, ${counted(status.open.webSockets, 'WebSocket')}`,
    '',
    'Upstream',
    terminal.table(
      status.upstreams.map(member => [
        member.member,
        member.origin,
        stateWord(member, terminal),
        sinceWord(member, nowMs),
      ]),
      '  ',
    ),
    ...streamLines(status, terminal),
    ...heartbeatLines(status, terminal),
    ...invitationLines(status, terminal),
    ...openingLines(status, terminal),
    ...cutoverLines(status, stateDir, terminal),
    '',
    'Certificates',
    terminal.table(
      status.certificates.map(entry => [
        entry.name,
        entry.keyType,
        daysLeft(entry, nowMs, terminal),
        entry.development ? terminal.tone('warn', 'development, not for production') : entry.subject,
      ]),
      '  ',
    ),
    '',
    'Country databases',
    status.databases.length === 0
      ? terminal.tone('bad', '  none loaded')
      : terminal.table(
          status.databases.map(entry => [
            entry.role,
            databaseName(entry),
            `${databaseAge(entry, nowMs)}, ${entry.file}`,
          ]),
          '  ',
        ),
  )
  if (withConnections && status.connections.length === 0)
    terminal.print('', 'Connections', '  none open at this moment (agents open one for each check-in)')
  else if (withConnections) {
    terminal.print(
      '',
      'Connections',
      terminal.table(
        [
          ['address', 'country', 'site', 'name', 'tls', 'state', 'since', 'in', 'out'].map(head =>
            terminal.tone('dim', head),
          ),
          ...status.connections.map(entry => [
            entry.address,
            entry.country,
            entry.site ?? '-',
            entry.name ?? '-',
            entry.tls ?? '-',
            entry.state,
            formatTime(entry.openedMs),
            formatBytes(entry.bytesIn),
            formatBytes(entry.bytesOut),
          ]),
        ],
        '  ',
      ),
    )
  }
}

function streamLines({ streams }: GateStatus, terminal: Terminal): readonly string[] {
  if (streams.length === 0) return []
  const rows = streams.map(entry => {
    const down = entry.members.filter(({ state }) => state === 'down')
    const all = entry.members.length > 0 && down.length === entry.members.length
    return [
      entry.listener,
      entry.product ?? entry.kind,
      all ? terminal.tone('bad', 'no server up') : `${entry.open} open`,
      `${entry.opened} since the start, ${entry.refused} refused`,
      `${formatBytes(entry.bytesIn)} in, ${formatBytes(entry.bytesOut)} out`,
      ...down.map(({ member, lastProblem }) =>
        terminal.tone('bad', `${member} is down: ${lastProblem ?? ''}`),
      ),
    ]
  })
  return ['', 'Streams', terminal.table(rows, '  ')]
}

function heartbeatLines({ heartbeats, nowMs }: GateStatus, terminal: Terminal): readonly string[] {
  if (heartbeats.length === 0) return []
  const ago = (timeMs: number | null): string => (timeMs === null ? 'never' : formatAgo(timeMs, nowMs))
  const rows = heartbeats.map(entry => [
    entry.listener,
    entry.upstream,
    heartbeatWord(entry, terminal),
    `${entry.heartbeats} in, last ${ago(entry.lastHeartbeatMs)}`,
    `${entry.replies} replies, last ${ago(entry.lastReplyMs)}`,
  ])
  const notes = [...lossLines(heartbeats), ...goneLines(heartbeats)]
  return ['', 'Heartbeats', terminal.table(rows, '  '), ...notes]
}

function goneLines(heartbeats: GateStatus['heartbeats']): readonly string[] {
  return heartbeats.flatMap(({ listener, sites, allGone }) => {
    if (allGone)
      return [
        `  ${listener}: hardly any agent of any place is heard: look at the gate's own line and firewall`,
      ]
    return sites.flatMap(({ site, senders }) => {
      const line = senders === null ? null : goneWords(site, senders)
      return line === null ? [] : [`  ${listener}: ${line}`]
    })
  })
}

function heartbeatWord(entry: GateStatus['heartbeats'][number], terminal: Terminal): string {
  const { connector, silent, flows } = entry
  if (connector?.trouble === 'away')
    return terminal.tone('bad', `connector is away${connector.portClosed ? ', port closed' : ''}`)
  if (connector?.trouble === 'not-offered') return terminal.tone('bad', 'connector does not offer it')
  if (silent) return terminal.tone('bad', 'server does not answer')
  const through = connector === null ? '' : ` through ${counted(connector.connections, 'connection')}`
  return counted(flows, 'client') + through
}

/** Loss below this is nothing to worry about. */
const WORTH_SAYING = 2

function lossLines(heartbeats: GateStatus['heartbeats']): readonly string[] {
  return heartbeats.flatMap(({ listener, sites }) =>
    sites.flatMap(({ site, lossPercent }) =>
      lossPercent === null || lossPercent < WORTH_SAYING
        ? []
        : [
            `  ${listener}: about ${lossPercent} % of the heartbeats of ${site ?? 'other addresses'} are lost`,
          ],
    ),
  )
}

function invitationLines({ invitations, nowMs }: GateStatus, terminal: Terminal): readonly string[] {
  if (invitations.length === 0) return []
  return ['', 'Invitations', terminal.table(invitationRows(invitations, nowMs, terminal), '  ')]
}

function openingLines({ openings, nowMs }: GateStatus, terminal: Terminal): readonly string[] {
  if (openings.length === 0) return []
  const rows = openings.map(entry => [
    terminal.tone('warn', entry.classes.join(', ')),
    entry.range.replace(/^site:/, 'site '),
    `until ${formatTime(entry.expiresMs)} (${formatAgo(entry.expiresMs, nowMs)})`,
    `${entry.owner}: ${entry.reason}`,
  ])
  return ['', 'Opened for a while', terminal.table(rows, '  ')]
}

/** Nothing before the first check or drill: most gates have been cut over long ago, or never will be. */
function cutoverLines({ nowMs }: GateStatus, stateDir: string, terminal: Terminal): readonly string[] {
  const { verified, rehearsed } = readCutover(stateDir)
  if (verified === null && rehearsed === null) return []
  const closed =
    verified === null
      ? 'never checked from outside'
      : `${verified.ok ? 'closed' : terminal.tone('bad', 'OPEN')}, checked ${formatAgo(verified.atMs, nowMs)}`
  const drill =
    rehearsed === null
      ? terminal.tone('warn', 'never rehearsed')
      : `rehearsed ${formatAgo(rehearsed.atMs, nowMs)}${rehearsed.ok ? '' : terminal.tone('bad', ', it failed')}`
  return ['', 'Cut-over', `  direct access ${closed}`, `  emergency path ${drill}`]
}

function stateWord(member: MemberState, terminal: Terminal): string {
  switch (member.state) {
    case 'up':
      return terminal.tone('good', member.serving ? 'up, serving' : 'up, standby')
    case 'down':
      return terminal.tone('bad', 'down')
    case 'returning':
      return terminal.tone('warn', 'returning')
    case 'unknown':
      return terminal.tone('dim', 'not probed yet')
  }
}

function sinceWord(member: MemberState, nowMs: number): string {
  const problem = member.lastProblem === null || member.state === 'up' ? '' : `: ${member.lastProblem}`
  return `for ${formatDuration(nowMs - member.sinceMs)}${problem}`
}
