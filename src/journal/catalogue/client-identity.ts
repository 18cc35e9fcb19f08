// Events of clients with a good key: whose name one has, who else wanted it, and who breaks the protocol.
import type { IdentityRefusal } from '../../policy/gateway-policy.ts'
import { stop, type Definitions } from '../definition.ts'
import type { ClientIdentityEventFields } from '../events-client-identity.ts'

/** Definitions of the events about identities of clients. */
export const CLIENT_IDENTITY_EVENTS: Definitions<keyof ClientIdentityEventFields> = {
  'client.identity-pinned': {
    code: 'I01',
    severity: 'info',
    when: 'A client showed the identity that its name belongs to from now on.',
    sentence: f =>
      `Client ${f.client} of key ${f.key} belongs to identity ${f.identity} from now on (it came from ${f.publicAddress}); no other can take its name.`,
    counter: null,
    stored: true,
    fromClients: true,
  },
  'client.identity-changed': {
    code: 'I02',
    severity: 'info',
    when: 'A client came with another identity than before. The one before had been made new by every start and was not binding.',
    sentence: f =>
      `Client ${f.client} of key ${f.key} came from ${f.publicAddress} with another identity than before, ${f.identity}. If its connector cannot keep its identity file, give it a place that lasts.`,
    counter: null,
    stored: true,
    fromClients: true,
  },
  'client.identity-unpinned': {
    code: 'I03',
    severity: 'warning',
    when: 'A client was let in, but its name belongs to nobody: its identity did not fit the connection, or too many names are known.',
    sentence: f =>
      f.why === 'full'
        ? `Client ${f.client} was let in from ${f.publicAddress}, but its identity is not remembered: key ${f.key} has too many names already. Forget those that are gone with portcullis clients forget.`
        : `Client ${f.client} of key ${f.key} was let in from ${f.publicAddress} without an identity: the one that it showed does not fit the connection. Something on its way breaks TLS open.`,
    counter: null,
    stored: true,
    fromClients: true,
  },
  'client.identity-refused': {
    code: 'I04',
    severity: 'warning',
    when: 'Somebody with a good gateway key wanted the name of a client whose identity he does not have.',
    sentence: f =>
      `Client ${f.client} (${f.realAddress}) was refused from ${f.publicAddress}: its gateway key ${f.key} is good, but ${WHY[f.why]}. If it was installed anew, run portcullis clients forget ${f.client} --key ${f.key}; if not, somebody else uses the key: replace it.`,
    counter: {
      name: 'portcullis_identity_refusals_total',
      help: 'Clients with a good key that were refused because of their identity, by why',
      labels: ['code'],
      values: f => [f.why],
    },
    stored: true,
    fromClients: true,
  },
  'client.identity-forgotten': {
    code: 'I05',
    severity: 'info',
    when: 'An administrator had the identity of a client forgotten.',
    sentence: f =>
      `The identity of client ${f.client} of key ${f.key} was forgotten (${f.identity}); the next one that comes gets the name.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'client.protocol-broken': {
    code: 'I07',
    severity: 'warning',
    when: 'A client with a good gateway key broke the protocol of the tunnel, or flooded the gate with frames that carry nothing. Its connection was ended.',
    sentence: f =>
      `Client ${f.client} of key ${f.key} at ${f.publicAddress} broke the protocol of the tunnel: ${stop(f.why)} Its connection was ended. Look at what runs there; portcullis keys remove ${f.key} keeps all of the key out.`,
    counter: {
      name: 'portcullis_tunnel_protocol_breaks_total',
      help: 'Connections of connectors that were ended because the protocol was broken',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: true,
  },
  'client.identities-trouble': {
    code: 'I06',
    severity: 'error',
    when: 'The file in which the gate keeps identities of clients cannot be read or written.',
    sentence: f =>
      `Identities of clients: ${f.file} ${stop(f.problem)} What is known stays in force; what is new may be forgotten with the next start.`,
    counter: {
      name: 'portcullis_identity_file_troubles_total',
      help: 'Failures of reading or writing the file of identities',
      labels: [],
      values: () => [],
    },
    stored: true,
    fromClients: false,
  },
}

const WHY: Readonly<Record<IdentityRefusal, string>> = {
  other: 'it has another identity than the client of this name',
  missing: 'it shows no identity',
  invalid: 'its identity does not fit the connection',
  attached: 'a client of this name with another identity is attached at this moment',
  policy: 'the policy names another identity',
}
