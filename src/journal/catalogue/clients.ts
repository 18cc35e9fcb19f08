// Events of named clients and operators: the classic gateway catalogue E10 to E18, with both addresses where there are two.
import { formatDuration, type Definitions } from '../definition.ts'

type Names =
  | 'client.connected'
  | 'client.disconnected'
  | 'operator.connected'
  | 'operator.disconnected'
  | 'client.capacity-exceeded'
  | 'client.key-refused'
  | 'operator.browse-refused'
  | 'operator.key-refused'
  | 'operator.key-mismatch'

const KEY_REFUSALS = {
  name: 'portcullis_key_refusals_total',
  help: 'Security checks that failed, by what was checked',
  labels: ['code'],
} as const

/** Definitions of the events about clients and operators. */
export const CLIENT_EVENTS: Definitions<Names> = {
  'client.connected': {
    code: 'E10',
    covers: ['E10'],
    severity: 'info',
    when: 'A named client registered with the gate.',
    sentence: f => `Client ${f.client} connected from ${f.address} (${f.country}).`,
    gatewayLines: f => [`Client ${f.client} connected`],
    counter: {
      name: 'portcullis_clients_connected_total',
      help: 'Named clients that connected',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: true,
  },
  'client.disconnected': {
    code: 'E11',
    covers: ['E11'],
    severity: 'info',
    when: 'A named client left or was lost.',
    sentence: f => `Client ${f.client} (${f.address}) disconnected after ${formatDuration(f.durationMs)}.`,
    gatewayLines: f => [`Client ${f.client} Disconnected`],
    counter: {
      name: 'portcullis_clients_disconnected_total',
      help: 'Named clients that left',
      labels: ['listener'],
      values: f => [f.listener],
    },
    stored: true,
    fromClients: true,
  },
  'operator.connected': {
    code: 'E12',
    covers: ['E12'],
    severity: 'info',
    when: 'An operator opened a session to a client.',
    sentence: f => `Operator ${f.operator} connected to client ${f.client} from ${f.address}.`,
    gatewayLines: f => [`Control ${f.operator} connected to Client ${f.client}`],
    counter: null,
    stored: true,
    fromClients: true,
  },
  'operator.disconnected': {
    code: 'E13',
    covers: ['E13'],
    severity: 'info',
    when: 'An operator closed a session to a client.',
    sentence: f =>
      `Operator ${f.operator} disconnected from client ${f.client} after ${formatDuration(f.durationMs)}.`,
    gatewayLines: f => [`Control ${f.operator} disconnected from Client ${f.client}`],
    counter: null,
    stored: true,
    fromClients: true,
  },
  'client.capacity-exceeded': {
    code: 'E14',
    covers: ['E14'],
    severity: 'warning',
    when: 'A client was turned away because the configured number of clients is connected already.',
    sentence: f =>
      `Capacity exceeded: the limit of ${f.max} clients is reached. Rejecting connection from client ${f.client} (${f.realAddress}, ${f.publicAddress}). Raise the limit, or disconnect clients that are no longer used.`,
    gatewayLines: f => [
      `Capacity exceeded. Rejecting connection from Client ${f.client} (${f.realAddress}, ${f.publicAddress})`,
    ],
    counter: {
      name: 'portcullis_capacity_refusals_total',
      help: 'Clients turned away because the limit was reached',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: true,
  },
  'client.key-refused': {
    code: 'E15',
    covers: ['E15'],
    severity: 'warning',
    when: 'A client presented no gateway key or an unknown one.',
    sentence: f =>
      `Security check failed for client ${f.client} (${f.realAddress}). Terminating connection from ${f.publicAddress}. Give the client one of the gateway keys and restart it.`,
    gatewayLines: f => [
      `Security check failed for Client ${f.client} (${f.realAddress}). Terminating connection from ${f.publicAddress}`,
    ],
    counter: { ...KEY_REFUSALS, values: () => ['E15'] },
    stored: true,
    fromClients: true,
  },
  'operator.browse-refused': {
    code: 'E16',
    covers: ['E16'],
    severity: 'warning',
    when: 'An operator asked for the list of clients without a valid gateway key.',
    sentence: f =>
      `Security check failed for an operator who asked for the list of clients. Terminating connection from ${f.publicAddress}. Enter a valid gateway key at the operator.`,
    gatewayLines: f => [
      `Security check failed for Control browse. Terminating connection from ${f.publicAddress}`,
    ],
    counter: { ...KEY_REFUSALS, values: () => ['E16'] },
    stored: true,
    fromClients: true,
  },
  'operator.key-refused': {
    code: 'E17',
    covers: ['E17'],
    severity: 'warning',
    when: 'An operator asked for a client without a valid gateway key.',
    sentence: f =>
      `Security check failed for operator ${f.operator}. Rejecting connection request to client ${f.client} from ${f.publicAddress}. Enter a valid gateway key at the operator.`,
    gatewayLines: f => [
      `Security check failed for Control ${f.operator}. Rejecting connection request to Client ${f.client} from ${f.publicAddress}`,
    ],
    counter: { ...KEY_REFUSALS, values: () => ['E17'] },
    stored: true,
    fromClients: true,
  },
  'operator.key-mismatch': {
    code: 'E18',
    covers: ['E18'],
    severity: 'warning',
    when: 'Operator and client both have valid gateway keys, but different ones.',
    sentence: f =>
      `Client and operator security check failed for operator ${f.operator}: both keys are valid but differ. Rejecting connection request to client ${f.client} from ${f.publicAddress}. Use the key of that client.`,
    gatewayLines: f => [
      `Client/Control security check failed for Control ${f.operator}. Rejecting connection request to Client ${f.client} from ${f.publicAddress}`,
    ],
    counter: { ...KEY_REFUSALS, values: () => ['E18'] },
    stored: true,
    fromClients: true,
  },
}
