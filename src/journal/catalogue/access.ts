// Events of keys, operators and logins.
import { plural, stop, type Definitions } from '../definition.ts'

type Names = 'operators.reloaded' | 'access.rejected' | 'operator.logged-in' | 'operator.login-refused'

/** Definitions of the events about who may attach and log in. */
export const ACCESS_EVENTS: Definitions<Names> = {
  'operators.reloaded': {
    code: 'K01',
    severity: 'info',
    when: 'Operators were added, changed or removed.',
    sentence: f => {
      const changed = f.changed.length === 0 ? '' : ` New or changed: ${f.changed.slice(0, 8).join(', ')}.`
      const removed =
        f.removed.length === 0
          ? ''
          : ` Removed: ${f.removed.slice(0, 8).join(', ')}; their logins and sessions end.`
      return `${plural(f.operators, 'operator')} may log in.${changed}${removed}`
    },
    counter: null,
    stored: true,
    fromClients: false,
  },
  'access.rejected': {
    code: 'K02',
    severity: 'error',
    when: 'The file of keys and operators cannot be used.',
    sentence: f =>
      `Keys and operators could not be read from ${f.file}: ${stop(f.problem)} ${f.kept ? 'Those of before stay in force' : 'Nobody can attach or log in'}; bring a good copy back and run \`portcullis reload\`.`,
    counter: {
      name: 'portcullis_access_rejections_total',
      help: 'Files of keys and operators that could not be used',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'operator.logged-in': {
    code: 'K03',
    severity: 'info',
    when: 'An operator logged in, at the gateway or at the dashboard.',
    sentence: f => `Operator ${f.operator} logged in at the ${f.via} from ${f.address}.`,
    counter: {
      name: 'portcullis_operator_logins_total',
      help: 'Logins of operators, by where',
      labels: ['code'],
      values: f => [f.via],
    },
    stored: true,
    fromClients: true,
  },
  'operator.login-refused': {
    code: 'K04',
    severity: 'warning',
    when: 'Somebody tried to log in with a name or password that is not right, or too often.',
    sentence: f =>
      `Login as ${f.operator === '' ? 'nobody' : f.operator} at the ${f.via} refused from ${f.address}: ${WHY[f.why]}`,
    counter: {
      name: 'portcullis_operator_login_refusals_total',
      help: 'Logins of operators that were refused, by why',
      labels: ['reason'],
      values: f => [f.why],
    },
    stored: true,
    fromClients: true,
  },
}

const WHY = {
  unknown:
    'name and password do not belong together. `portcullis operators password` sets a new one; many of these are somebody guessing.',
  held: 'this address has guessed wrong too often and has to wait. Others, and this name from elsewhere, are not held.',
  busy: 'too many logins are being checked at once. Trying again in a second helps.',
} as const
