// Events of what the gate stands on: upstreams, certificates, country databases, and standing set by operators.
import { formatDuration, formatTime, plural, stop, type Definitions } from '../definition.ts'

type Names =
  | 'upstream.down'
  | 'upstream.up'
  | 'upstream.switched'
  | 'upstream.failed'
  | 'certificate.loaded'
  | 'certificate.rejected'
  | 'certificate.expiring'
  | 'certificate.held'
  | 'geo.loaded'
  | 'geo.rejected'
  | 'geo.stale'
  | 'geo.disagreement'
  | 'ban.added'
  | 'ban.removed'
  | 'allow.added'
  | 'allow.removed'
  | 'exception.expiring'

const scope = (classes: readonly string[] | null): string =>
  classes === null ? 'every class' : `class ${classes.join(', ')}`

/** The last part of a path; the fields of the event have all of it. */
const nameOf = (file: string): string => file.slice(file.lastIndexOf('/') + 1)

const until = (expiresMs: number | null): string =>
  expiresMs === null ? 'for good' : `until ${formatTime(expiresMs)}`

/** Definitions of the events about the surroundings of the gate. */
export const SURROUNDING_EVENTS: Definitions<Names> = {
  'upstream.down': {
    code: 'U01',
    severity: 'error',
    when: 'A server of an upstream group failed its probes or a live request.',
    sentence: f =>
      `Upstream ${f.member} of ${f.group} is down: ${stop(f.problem)} Look at that server; the gate returns to it by itself.`,
    counter: {
      name: 'portcullis_upstream_down_total',
      help: 'Times a server was found down',
      labels: ['group', 'member'],
      values: f => [f.group, f.member],
    },
    stored: true,
    fromClients: false,
  },
  'upstream.up': {
    code: 'U02',
    severity: 'info',
    when: 'A server of an upstream group answers again.',
    sentence: f => `Upstream ${f.member} of ${f.group} is up again after ${formatDuration(f.downMs)}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'upstream.switched': {
    code: 'U03',
    severity: f => (f.to === null ? 'error' : 'warning'),
    when: 'New requests of an upstream group go to another server, or to none.',
    sentence: f =>
      f.to === null
        ? `No server of ${f.group} is up any more (${f.why}). New requests cannot be served; bring a server back.`
        : `New requests for ${f.group} go to ${f.to}${f.from === null ? '' : ` instead of ${f.from}`} (${f.why}). Sessions in progress stay where they are.`,
    counter: {
      name: 'portcullis_upstream_switches_total',
      help: 'Times a group changed servers',
      labels: ['group'],
      values: f => [f.group],
    },
    stored: true,
    fromClients: false,
  },
  'upstream.failed': {
    code: 'U04',
    severity: 'warning',
    when: 'A live request or stream failed at the upstream.',
    sentence: f =>
      `Upstream ${f.member} of ${f.group} failed a request (${f.code}): ${stop(f.problem)} Look at that server when this repeats.`,
    counter: {
      name: 'portcullis_upstream_failures_total',
      help: 'Live requests that failed at an upstream',
      labels: ['group', 'member', 'code'],
      values: f => [f.group, f.member, f.code],
    },
    stored: true,
    fromClients: true,
  },
  'certificate.loaded': {
    code: 'T01',
    severity: 'info',
    when: 'A certificate was loaded or replaced.',
    sentence: f =>
      `Certificate for ${f.name} (${f.subject}, ${f.keyType}) is in use; valid until ${formatTime(f.validToMs)}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'certificate.rejected': {
    code: 'T02',
    severity: 'error',
    when: 'A certificate file is not usable; the certificate in use stays.',
    sentence: f =>
      `The certificate file ${f.file} for ${f.name} is not usable: ${stop(f.problem)} The one in use stays; replace the file.`,
    counter: {
      name: 'portcullis_certificate_rejections_total',
      help: 'Certificate files that were not usable',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'certificate.expiring': {
    code: 'T03',
    severity: f => (f.daysLeft <= 7 ? 'error' : 'warning'),
    when: 'A certificate ends soon or has ended.',
    sentence: f =>
      f.daysLeft < 0
        ? `The certificate for ${f.name} ended on ${formatTime(f.validToMs)}: agents refuse to connect. Replace it now.`
        : `The certificate for ${f.name} ends in ${plural(Math.floor(f.daysLeft), 'day')}, on ${formatTime(f.validToMs)}. Replace it before agents refuse to connect.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'certificate.held': {
    code: 'T04',
    severity: 'warning',
    when: 'A new certificate waits, because agents that pin certificates would be lost by a quick change.',
    sentence: f => `The new certificate for ${f.name} waits until ${formatTime(f.untilMs)}: ${stop(f.why)}`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'geo.loaded': {
    code: 'D01',
    severity: 'info',
    when: 'A country database was loaded or replaced.',
    sentence: f =>
      `Country database ${nameOf(f.file)} of ${formatTime(f.builtMs).slice(0, 10)} is the ${f.role} opinion.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'geo.rejected': {
    code: 'D02',
    severity: 'error',
    when: 'A country database file is not usable; the database in use stays.',
    sentence: f =>
      `Country database ${f.file} is not usable: ${stop(f.problem)} ${f.kept === null ? 'No database is in use' : `${f.kept} stays in use`}; replace the file.`,
    counter: {
      name: 'portcullis_geo_rejections_total',
      help: 'Country database files that were not usable',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'geo.stale': {
    code: 'D03',
    severity: 'warning',
    when: 'A country database is old.',
    sentence: f =>
      `Country database ${nameOf(f.file)} is ${plural(Math.floor(f.ageDays), 'day')} old: addresses move between countries. Put a newer one into geoip/.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'geo.disagreement': {
    code: 'D04',
    severity: 'info',
    when: 'Two country databases place the same address in different countries.',
    sentence: f =>
      `The databases place ${f.address} in ${f.first} and in ${f.second}; the first decides. Add a geo override if it is wrong.`,
    counter: {
      name: 'portcullis_geo_disagreements_total',
      help: 'Addresses on which the databases disagree',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: true,
  },
  'ban.added': {
    code: 'B01',
    severity: 'warning',
    when: 'An address range was banned while the gate runs.',
    sentence: f =>
      `${f.owner} banned ${f.range} for ${scope(f.classes)}, ${until(f.expiresMs)}: ${stop(f.reason)} Lift it with \`portcullis unban ${f.range}\`.`,
    counter: {
      name: 'portcullis_bans_added_total',
      help: 'Bans set while the gate runs',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'ban.removed': {
    code: 'B02',
    severity: 'info',
    when: 'A ban was lifted or has ended.',
    sentence: f => `The ban of ${f.range} by ${f.owner} is lifted: ${stop(f.why)}`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'allow.added': {
    code: 'B03',
    severity: 'warning',
    when: 'An address range was allowed while the gate runs.',
    sentence: f =>
      `${f.owner} allowed ${f.range} for ${scope(f.classes)}, ${until(f.expiresMs)}: ${stop(f.reason)} Protection rules still hold for it.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'allow.removed': {
    code: 'B04',
    severity: 'info',
    when: 'An allow was taken back or has ended.',
    sentence: f => `The allow of ${f.range} by ${f.owner} is gone: ${stop(f.why)}`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'exception.expiring': {
    code: 'P03',
    severity: 'warning',
    when: 'An exception of the policy ends soon or has ended.',
    sentence: f =>
      f.daysLeft < 0
        ? `${f.what} (${f.line}) ended on ${formatTime(f.expiresMs)} and no longer holds. Remove it, or give it a new end date.`
        : `${f.what} (${f.line}) ends in ${plural(Math.floor(f.daysLeft), 'day')}, on ${formatTime(f.expiresMs)}. Renew it, or update what needs it.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
}
