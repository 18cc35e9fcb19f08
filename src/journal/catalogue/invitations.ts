// Events of forwards for invitations of Remote Assistance.
import { formatTime, plural, stop, type Definitions } from '../definition.ts'
import type { ForwardFields, InvitationEventFields } from '../events-invitations.ts'

const what = (f: ForwardFields): string =>
  `public port ${f.port} (TCP and UDP) to ${f.target} for ${f.owner}${f.from === '' ? '' : `, for ${f.from} only`}`

const cutText = (cut: number): string =>
  cut === 0 ? 'Nobody was connected.' : `${plural(cut, 'connection')} cut.`

const whyText = ({ why, who, problem }: InvitationEventFields['invitation.closed']): string =>
  why === 'operator' ? `${who} ended it.` : `The policy in force does not allow it: ${stop(problem)}`

/** Definitions of the events about invitations. */
export const INVITATION_EVENTS: Definitions<keyof InvitationEventFields> = {
  'invitation.opened': {
    code: 'M01',
    severity: 'info',
    when: 'A forward for an invitation of Remote Assistance was opened.',
    sentence: f =>
      `Opened ${what(f)}, until ${formatTime(f.expiresMs)}. \`portcullis invitations end ${f.port}\` ends it.`,
    counter: {
      name: 'portcullis_invitations_opened_total',
      help: 'Forwards for invitations that were opened',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'invitation.closed': {
    code: 'M02',
    severity: 'info',
    when: 'A forward for an invitation ended before its time: by a person, or by a policy that does not allow it.',
    sentence: f => `Closed ${what(f)}. ${whyText(f)} ${cutText(f.cut)}`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'invitation.expired': {
    code: 'M03',
    severity: 'info',
    when: 'A forward for an invitation reached its end.',
    sentence: f =>
      `The time of ${what(f)} is over. ${cutText(f.cut)} Whoever still needs help makes a new invitation.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'invitation.refused': {
    code: 'M04',
    severity: 'warning',
    when: 'A forward for an invitation was asked for and not made.',
    sentence: f => `Made no forward for ${f.owner}: ${stop(f.problem)}`,
    counter: {
      name: 'portcullis_invitations_refused_total',
      help: 'Forwards for invitations that were asked for and not made',
      labels: ['code'],
      values: f => [f.code],
    },
    stored: true,
    fromClients: false,
  },
  'invitation.restored': {
    code: 'M05',
    severity: 'info',
    when: 'A forward for an invitation was opened again after a restart of the gate.',
    sentence: f => `Opened ${what(f)} again after the restart, until ${formatTime(f.expiresMs)}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'invitation.file-failed': {
    code: 'M06',
    severity: 'error',
    when: 'The file that lets forwards for invitations outlive a restart cannot be read or written.',
    sentence: f =>
      f.what === 'read'
        ? `${f.file} cannot be used: ${stop(f.problem)} No forward for an invitation was opened again after the restart: whoever still needs help makes a new invitation.`
        : `${f.file} cannot be written: ${stop(f.problem)} New forwards for invitations are refused, and one that has ended would come back with a restart until its time is over. It is tried again every second: look at the disk of the state directory.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
}
