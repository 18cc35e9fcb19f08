// Events of the gate itself, its listeners, policy, keys and journal.
import { plural, stop, type Definitions } from '../definition.ts'

type Names =
  | 'gate.started'
  | 'gate.start-failed'
  | 'gate.stopped'
  | 'gate.internal-error'
  | 'listener.opened'
  | 'listener.failed'
  | 'listener.closed'
  | 'policy.reloading'
  | 'policy.loaded'
  | 'policy.rejected'
  | 'policy.kept'
  | 'policy.rolled-back'
  | 'rule.promoted'
  | 'rule.held-back'
  | 'keys.reloaded'
  | 'journal.dropped'
  | 'journal.trimmed'
  | 'journal.store-replaced'
  | 'journal.store-failed'

/** Definitions of the gate's own events. */
export const GATE_EVENTS: Definitions<Names> = {
  'gate.started': {
    code: 'E1',
    covers: ['E1', 'E2'],
    severity: 'info',
    when: 'The gate is up: every listener that can be opened is open.',
    sentence: f =>
      `Portcullis ${f.version}, running on ${f.platform}, started as process ${f.pid}. At most ${plural(f.maxConnections, 'connection')} at once.`,
    gatewayLines: f => [
      `Portcullis ${f.version}, running on ${f.platform}`,
      `Gateway started. Max connections: ${f.maxConnections}`,
    ],
    counter: null,
    stored: true,
    fromClients: false,
  },
  'gate.start-failed': {
    code: 'E3',
    covers: ['E3'],
    severity: 'error',
    when: 'The gate could not start; the process ends after this event.',
    sentence: f => `Failed to start the gate (${f.code}): ${stop(f.problem)} ${stop(f.remedy)}`,
    gatewayLines: f => [`Failed to start Gateway: ${stop(f.problem)}`],
    counter: null,
    stored: true,
    fromClients: false,
  },
  'gate.stopped': {
    code: 'E4',
    covers: ['E4'],
    severity: 'info',
    when: 'The gate has shut down in order.',
    sentence: f =>
      `The gate stopped after ${Math.round(f.uptimeMs / 1000)} s; ${plural(f.connectionsCut, 'connection')} had to be cut.`,
    gatewayLines: () => ['Gateway stopped'],
    counter: null,
    stored: true,
    fromClients: false,
  },
  'gate.internal-error': {
    code: 'G01',
    severity: 'error',
    when: 'A defect was met; the connection at hand was closed, the process goes on.',
    sentence: f =>
      `A defect in ${f.where}: ${stop(f.problem)} The connection at hand was closed; report this line with its stack.`,
    counter: {
      name: 'portcullis_internal_errors_total',
      help: 'Defects that closed a connection',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: true,
  },
  'listener.opened': {
    code: 'E5',
    covers: ['E5'],
    severity: 'info',
    when: 'A port was opened, at start or because a reload changed it.',
    sentence: f => `Listening on port ${f.port} (${f.host}, listener ${f.listener}).`,
    gatewayLines: f => [`Listening on port ${f.port}`],
    counter: null,
    stored: true,
    fromClients: false,
  },
  'listener.failed': {
    code: 'E6',
    covers: ['E6'],
    severity: 'error',
    when: 'A port could not be opened, most often because another service holds it.',
    sentence: f =>
      `Failed to bind to listening port ${f.port} (${f.host}, listener ${f.listener}): ${stop(f.problem)} ${stop(f.remedy)}`,
    gatewayLines: f => [`Failed to bind to listening port ${f.port}`],
    counter: {
      name: 'portcullis_listener_failures_total',
      help: 'Ports that could not be opened',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: false,
  },
  'listener.closed': {
    code: 'E8',
    covers: ['E8'],
    severity: 'info',
    when: 'A port was closed because a reload changed or removed it, or at shutdown. Open connections are kept.',
    sentence: f =>
      `Port ${f.port} (${f.host}, listener ${f.listener}) is closed to new connections; ${plural(f.connectionsKept, 'open connection')} may finish.`,
    gatewayLines: f => [
      `Listen port ${f.port} has changed or closed. ${plural(f.connectionsKept, 'current connection')} may finish.`,
    ],
    counter: null,
    stored: true,
    fromClients: false,
  },
  'policy.reloading': {
    code: 'E7',
    covers: ['E7'],
    severity: 'info',
    when: 'The policy files are about to be read.',
    sentence: f => `Reloading configuration (asked for by ${f.trigger}).`,
    gatewayLines: () => ['Reloading configuration'],
    counter: null,
    stored: false,
    fromClients: false,
  },
  'policy.loaded': {
    code: 'P01',
    severity: f => (f.warnings.length > 0 ? 'warning' : 'info'),
    when: 'A policy was read, found valid and put in force.',
    sentence: f => {
      const changes = f.changes.length === 0 ? '' : ` Changed: ${stop(f.changes.slice(0, 8).join('; '))}`
      const warnings = f.warnings.length === 0 ? '' : ` Look at: ${stop(f.warnings.slice(0, 8).join('; '))}`
      return `Policy ${f.id.slice(0, 12)} from ${plural(f.files, 'file')} is in force.${changes}${warnings}`
    },
    counter: {
      name: 'portcullis_policy_loads_total',
      help: 'Policies put in force',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'policy.rejected': {
    code: 'P02',
    severity: 'error',
    when: 'A changed policy is not valid; the last good one stays in force.',
    sentence: f =>
      `The changed policy is NOT in force, ${f.keptId.slice(0, 12)} stays: ${stop(f.problems.slice(0, 8).join('; '))} Correct the files and see \`portcullis check\`.`,
    counter: {
      name: 'portcullis_policy_rejections_total',
      help: 'Policies that were not valid',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'policy.kept': {
    code: 'P05',
    severity: 'info',
    when: 'The guard has watched a change of policy to the end: as many agents check in as before.',
    sentence: f =>
      `Version ${f.version} of the policy stays: agents of ${plural(f.sources, 'address', 'addresses')} have checked in since.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'policy.rolled-back': {
    code: 'P06',
    severity: 'error',
    when: 'A policy was taken back, by the guard because agents stopped coming, or by an operator.',
    sentence: f =>
      `Version ${f.version} of the policy was taken back by ${f.who}, version ${f.to} is put in force again: ${stop(f.why)}`,
    counter: {
      name: 'portcullis_policy_rollbacks_total',
      help: 'Policies taken back',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
  'rule.promoted': {
    code: 'P07',
    severity: 'info',
    when: 'A rule of `rules.enforceAfter` was watched long enough without a hit of a known agent: it enforces from now on.',
    sentence: f =>
      `Rule ${f.rule} enforces from now on: in ${plural(f.days, 'day')} it has not hit a single known agent, and would have refused ${plural(f.strangers, 'other address', 'other addresses')}.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'rule.held-back': {
    code: 'P08',
    severity: 'warning',
    when: 'A rule of `rules.enforceAfter` has been watched long enough, but it has hit known agents: it goes on detecting.',
    sentence: f =>
      `Rule ${f.rule} goes on detecting: in ${plural(f.days, 'day')} it has hit ${plural(f.knownAgents, 'known agent')}. \`portcullis rules preview ${f.rule}\` shows whom.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'keys.reloaded': {
    code: 'E9',
    covers: ['E9'],
    severity: 'info',
    when: 'The gateway keys were read again.',
    sentence: f => {
      const added = listed('Added', f.added)
      const removed = listed('Removed', f.removed)
      const ended = removed === '' ? '' : ' Clients and sessions of a removed key end, all others stay.'
      return `Reloading gateway keys: ${plural(f.keys, 'key')} in force.${added}${removed}${ended}`
    },
    gatewayLines: () => ['Reloading Gateway Keys'],
    counter: null,
    stored: true,
    fromClients: false,
  },
  'journal.dropped': {
    code: 'J01',
    severity: 'warning',
    when: 'Lines or rows could not be recorded. Traffic, metrics and decisions are not affected.',
    sentence: f =>
      `${plural(f.rows, 'line or row', 'lines or rows')} could not be recorded: ${stop(f.why)} Traffic is not affected; look at the disk, or for a flood of refusals.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'journal.trimmed': {
    code: 'J02',
    severity: 'info',
    when: 'Old rows were removed to keep the journal within its limits.',
    sentence: f =>
      `${plural(f.rows, 'old row')} removed from the journal: ${stop(f.why)} Raise journal.eventDays, ledgerDays or maxStoreBytes to keep more.`,
    counter: null,
    stored: false,
    fromClients: false,
  },
  'journal.store-replaced': {
    code: 'J03',
    severity: 'error',
    when: 'The database of the journal was damaged; it was moved aside and a fresh one is in use.',
    sentence: f =>
      `The journal ${f.file} was damaged (${f.problem}). It was moved to ${f.movedTo} and a fresh one is in use; ${plural(f.entriesKept, 'ban or allow', 'bans and allows')} could be carried over. Check the disk, and check \`portcullis status\` for missing bans and allows.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'journal.store-failed': {
    code: 'J04',
    severity: 'error',
    when: 'The database of the journal cannot be used; nothing is stored until it can. Traffic passes as before.',
    sentence: f =>
      `The journal ${f.file} cannot be used: ${stop(f.problem)} ${stop(f.remedy)} Traffic is not affected.`,
    counter: null,
    stored: false,
    fromClients: false,
  },
}

function listed(word: string, names: readonly string[] | undefined): string {
  return names === undefined || names.length === 0
    ? ''
    : ` ${word}: ${names.slice(0, 8).join(', ')}${names.length > 8 ? ' and others' : ''}.`
}
