// Forwards for invitations as people read them: one row each, and who may connect.
import type { InvitationStatus } from '../policy/running-state.ts'
import { sourcesText, targetText } from '../policy/invitations.ts'
import { formatAgo, formatBytes, formatTime } from './format.ts'
import { safeText } from './shown-text.ts'
import type { Terminal } from './terminal.ts'

/** Rows of a table. */
export function invitationRows(
  invitations: readonly InvitationStatus[],
  nowMs: number,
  terminal: Pick<Terminal, 'tone'>,
): readonly (readonly string[])[] {
  return invitations.map(entry => [
    terminal.tone(entry.tcp && entry.udp ? 'good' : 'bad', `port ${entry.port}`),
    `to ${targetText(entry.target)}`,
    `until ${formatTime(entry.expiresMs)} (${formatAgo(entry.expiresMs, nowMs)})`,
    entry.tcp && entry.udp
      ? `${entry.connections} TCP, ${entry.flows} UDP, ${formatBytes(entry.bytesIn)} in, ${formatBytes(entry.bytesOut)} out`
      : terminal.tone('bad', `${entry.tcp ? 'UDP' : entry.udp ? 'TCP' : 'TCP and UDP'} not open`),
    `for ${entry.from === null ? 'everybody' : sourcesText(entry.from)}`,
    safeText(entry.owner),
  ])
}
