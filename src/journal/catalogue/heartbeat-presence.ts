// Events about senders of heartbeats that fall silent: some of a site, a whole site, all of the gate. Wordings say where to look.
import { formatDuration, formatTime, plural, type Definitions } from '../definition.ts'

type Names = 'heartbeat.senders-gone' | 'heartbeat.site-gone' | 'heartbeat.all-gone' | 'heartbeat.back'

const where = ({
  site,
  address,
}: {
  readonly site: string | null
  readonly address: string | null
}): string => (site !== null ? `site ${site}` : `the address ${address ?? ''}`)

/** Definitions of the events about senders that are gone. */
export const HEARTBEAT_PRESENCE_EVENTS: Definitions<Names> = {
  'heartbeat.senders-gone': {
    code: 'H12',
    severity: 'info',
    when: 'Some agents of a site (or behind an address of no site) have sent no heartbeat for three times the expected interval, and others there have. Every ten minutes at most by site; beyond twenty sites at once they are summed up.',
    sentence: f =>
      f.address === null && f.site === null
        ? `${f.gone} of ${plural(f.known, 'agent')} at ${plural(f.places, 'more place')} sent no heartbeat to ${f.listener} any more.`
        : `${f.gone} of ${plural(f.known, 'agent')} of ${where(f)} sent no heartbeat to ${f.listener} for ${formatDuration(3 * f.everyMs)}; the others there do. Look at those devices: they are off, or their service is.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'heartbeat.site-gone': {
    code: 'H13',
    severity: 'warning',
    when: 'All agents of a site (or behind an address of no site) have sent no heartbeat for three times the expected interval. The sentence says whether others are heard.',
    sentence: f =>
      `The whole of ${where(f)} is gone: none of its ${plural(f.known, 'agent')} sent a heartbeat to ${f.listener} since ${formatTime(f.lastMs)}, ${f.others === 0 ? 'and nobody else is expected, so it may be that place or the gate: look whether anything comes in.' : `while ${plural(f.others, 'agent')} of other places did. Look at the line, the power and the firewall of that place (UDP going out), not at the gate.`}`,
    counter: {
      name: 'portcullis_heartbeat_sites_gone_total',
      help: 'Times all agents of a place stopped sending heartbeats',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'heartbeat.all-gone': {
    code: 'H14',
    severity: 'error',
    when: 'Nine in ten agents of a listener, of several places, have sent no heartbeat for three times the expected interval: the cause is on the side of the gate. Places are not reported one by one then.',
    sentence: f =>
      `Hardly anybody reaches ${f.listener} any more: ${f.gone} of ${plural(f.known, 'agent')} of ${plural(f.places, 'place')} sent no heartbeat since ${formatTime(f.lastMs)}. So many places do not fail at once: look at the line and the firewall of the gate (this UDP port), and at where the name that agents use points.`,
    counter: {
      name: 'portcullis_heartbeats_all_gone_total',
      help: 'Times (nearly) all agents of a listener stopped sending heartbeats',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'heartbeat.back': {
    code: 'H15',
    severity: 'info',
    when: 'Agents of a place, or of the whole listener, that were reported as gone send heartbeats again: at least half of them.',
    sentence: f =>
      `Heartbeats of ${f.address === null && f.site === null ? 'the agents' : where(f)} come to ${f.listener} again: ${f.known - f.gone} of ${plural(f.known, 'agent')}. None had come since ${formatTime(f.sinceMs)}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
}
