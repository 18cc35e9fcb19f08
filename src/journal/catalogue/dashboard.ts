// Events of the dashboard: who logged in, what was changed there, and what was refused. Together they are its audit log.
import { formatDuration, type Definitions } from '../definition.ts'

type Names =
  | 'dashboard.login'
  | 'dashboard.login-refused'
  | 'dashboard.session-ended'
  | 'dashboard.changed'
  | 'dashboard.refused'

const LOGINS = {
  name: 'portcullis_dashboard_logins_total',
  help: 'Attempts to log in to the dashboard, by what came of them',
  labels: ['code'],
} as const

const LOGIN_REFUSALS = {
  wrong: 'Name or password is wrong.',
  held: 'Too many attempts have failed from there; it is refused for a while.',
  busy: 'Too many attempts were being checked at once.',
} as const

const ENDS: Readonly<Record<string, string>> = {
  'logged-out': 'logged out',
  idle: 'nothing was done for a while',
  expired: 'its longest time is over',
  displaced: 'newer sessions took its place',
  'operator-changed': 'the account was changed or removed',
  login: 'logged in again',
  shutdown: 'the gate stopped',
}

const OUTCOMES = {
  done: '',
  refused: ' Nothing was changed: the form was not right.',
  failed: ' It failed; the error before this says why.',
} as const

const REFUSALS = {
  role: 'The role of the operator does not allow it.',
  reach: 'The operator is limited to sites or keys, and this is about the whole gate.',
  site: 'The operator does not see this site.',
  token: 'The form did not carry the token of its session.',
  origin: 'The request came from another web page.',
  password: 'The password that this asks for was wrong or not checked.',
} as const

/** Definitions of the events of the dashboard. */
export const DASHBOARD_EVENTS: Definitions<Names> = {
  'dashboard.login': {
    code: 'A01',
    severity: 'info',
    when: 'An operator logged in to the dashboard.',
    sentence: f => `Operator ${f.operator} logged in to the dashboard from ${f.address}.`,
    counter: { ...LOGINS, values: () => ['good'] },
    stored: true,
    fromClients: false,
  },
  'dashboard.login-refused': {
    code: 'A02',
    severity: 'warning',
    when: 'Somebody tried to log in to the dashboard and could not.',
    sentence: f =>
      `A login to the dashboard as ${f.operator === null ? 'an operator that does not exist' : `operator ${f.operator}`} from ${f.address} was refused. ${LOGIN_REFUSALS[f.why]}`,
    counter: { ...LOGINS, values: f => [f.why] },
    stored: true,
    fromClients: true,
  },
  'dashboard.session-ended': {
    code: 'A03',
    severity: 'info',
    when: 'A session of the dashboard ended.',
    sentence: f =>
      `The dashboard session of operator ${f.operator} from ${f.address} ended after ${formatDuration(f.durationMs)}: ${ENDS[f.why] ?? f.why}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'dashboard.changed': {
    code: 'A04',
    severity: f => (f.outcome === 'failed' ? 'error' : f.outcome === 'refused' ? 'info' : 'warning'),
    when: 'An operator changed something on the dashboard, or tried to.',
    sentence: f =>
      `Operator ${f.operator} at ${f.address}: ${f.action}${f.target === '' ? '' : ` (${f.target})`}.${OUTCOMES[f.outcome]}`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'dashboard.refused': {
    code: 'A05',
    severity: 'warning',
    when: 'An operator asked the dashboard for something that is not theirs.',
    sentence: f =>
      `The dashboard refused ${f.what} to operator ${f.operator} at ${f.address}. ${REFUSALS[f.why]}`,
    counter: null,
    stored: true,
    fromClients: true,
  },
}
