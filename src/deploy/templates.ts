// What to set where, per RMM product, so that agents use the gate first and the old address second. Pure.
import { formatServerString, type AddressGrammar } from './server-string.ts'

/** Names of the two ways to the server. */
export type TemplateHosts = {
  /** The gate's public name. */
  readonly gate: string
  /** The old, direct address; null: not given. */
  readonly direct: string | null
  /** Where the gate connects from, as the RMM server sees it; null: not known. */
  readonly egress: string | null
}

/** One value and the place for it. */
export type TemplateSetting = {
  readonly where: string
  readonly value: string
  /** How the value is checked; null: it is no address string of an agent. */
  readonly grammar: AddressGrammar | null
}

/** A text for a configuration file. */
export type TemplateFile = { readonly file: string; readonly lines: readonly string[] }

/** Everything to be set for one product. */
export type Template = {
  readonly settings: readonly TemplateSetting[]
  readonly files: readonly TemplateFile[]
  /** When agents take the change up: a sentence. */
  readonly restart: string
  readonly notes: readonly string[]
}

/** A product that templates are known for. */
export type ProductTemplate = {
  readonly id: string
  readonly product: string
  /** What its agents accept; the one that `template check` asks for. */
  readonly grammar: AddressGrammar
  /** Whether agents go to the secondary address by themselves. */
  readonly hasSecondary: boolean
  readonly template: (hosts: TemplateHosts) => Template
}

const PAIR: AddressGrammar = { scheme: 'https', port: 'none', path: '', separator: '|', entries: 2 }
const HOST_PORT: AddressGrammar = { scheme: null, port: 'required', path: '', separator: null, entries: 1 }
const HTTPS: AddressGrammar = { scheme: 'https', port: 'none', path: '', separator: null, entries: 1 }
const MESH: AddressGrammar = {
  scheme: 'wss',
  port: 'required',
  path: '/agent.ashx',
  separator: null,
  entries: 1,
}
const HOST: AddressGrammar = { scheme: null, port: 'none', path: '', separator: null, entries: 1 }

const NO_SECONDARY =
  'Agents of this product keep one address. The emergency path is DNS: let the name point to the gate with a short time to live (300 s), and keep the old address at hand.'

/** The rule that costs nothing and saves fleets (a malformed default template is lost communication everywhere). */
export const NEW_TEMPLATE_FIRST =
  'Make a new template (or group) with this value and put a few machines into it. Never change the default one first: a mistake there reaches every agent and is hard to take back.'

/** All products, the first is the reference one. */
export const PRODUCT_TEMPLATES: readonly ProductTemplate[] = [
  {
    id: 'connectwise-automate',
    product: 'ConnectWise Automate',
    grammar: PAIR,
    hasSecondary: true,
    template: ({ gate, direct }) => ({
      settings: [
        {
          where: 'a new template: Server Address',
          value: pair(gate, required(direct)),
          grammar: PAIR,
        },
      ],
      files: [],
      restart:
        'Agents take the address up with their next configuration, and use it after their services have restarted (LTService and LTSvcMon; a reboot does it too).',
      notes: [
        'Check one machine: after the restart its outbound TCP connections to port 443 go to the gate (Get-NetTCPConnection -RemotePort 443).',
        'The redirector address (System Dashboard > Config > Redirector) is global and touches single sign-on. Leave it alone until all agents use the gate.',
      ],
    }),
  },
  {
    id: 'kaseya-vsa',
    product: 'Kaseya VSA',
    grammar: HOST_PORT,
    hasSecondary: true,
    template: ({ gate, direct }) => ({
      settings: [
        setting('Agent > Check-in Control: Primary KServer and Primary Port', gate, 5721),
        setting('Agent > Check-in Control: Secondary KServer and Secondary Port', required(direct), 5721),
      ],
      files: [],
      restart: 'Agents take the addresses up at their next check-in; no restart is needed.',
      notes: [
        'Write host and port into their two fields, without the colon.',
        'Agents speak a protocol of their own on port 5721: publish that port beside the gate before any agent is moved.',
        'Sessions of the legacy remote control are tied to the primary address: agents that are on the secondary lose them.',
      ],
    }),
  },
  {
    id: 'n-central',
    product: 'N-able N-central',
    grammar: HOST,
    hasSecondary: false,
    template: ({ gate }) => ({
      settings: [
        {
          where: 'Administration > Defaults > Appliance Settings: server address',
          value: gate,
          grammar: HOST,
        },
      ],
      files: [],
      restart: 'Agents and probes take the address up with their next configuration; no restart is needed.',
      notes: [
        'Signalling (XMPP) goes over port 443 or 5280: use 443, or publish 5280 beside the gate.',
        'Test the address on the appliance settings of a few devices before it becomes the default.',
        NO_SECONDARY,
      ],
    }),
  },
  {
    id: 'screenconnect',
    product: 'ConnectWise ScreenConnect',
    grammar: HTTPS,
    hasSecondary: false,
    template: ({ gate }) => ({
      settings: [
        {
          where: 'web.config, appSettings: WebServerAddressableUri',
          value: formatServerString([{ host: gate, port: null }], HTTPS),
          grammar: HTTPS,
        },
      ],
      files: [
        {
          file: 'web.config (appSettings)',
          lines: [
            `<add key="WebServerAddressableUri" value="https://${gate}/" />`,
            `<add key="RelayAddressableUri" value="relay://${gate}:8041/" />`,
          ],
        },
      ],
      restart:
        'Restart the ScreenConnect services. Installed access agents keep the relay address that they were installed with: reinstall them, or keep that name and move it to the gate in DNS.',
      notes: [
        'The relay speaks a protocol of its own: publish port 8041 beside the gate first.',
        NO_SECONDARY,
      ],
    }),
  },
  {
    id: 'meshcentral',
    product: 'MeshCentral',
    grammar: MESH,
    hasSecondary: false,
    template: ({ gate, egress }) => ({
      settings: [
        {
          where: 'meshagent.msh: MeshServer',
          value: formatServerString([{ host: gate, port: 443 }], MESH),
          grammar: MESH,
        },
      ],
      files: [
        { file: 'meshagent.msh', lines: [`MeshServer=wss://${gate}:443/agent.ashx`] },
        { file: 'config.json of the server', lines: meshConfig(gate, egress) },
      ],
      restart:
        'The server reads config.json when it starts. Agents installed under the same name need nothing; a changed meshagent.msh needs a restart of the agent.',
      notes: [
        'Agents pin the web certificate. The server reads it from certUrl at most every two minutes: never change the certificate twice within that time.',
        NO_SECONDARY,
      ],
    }),
  },
  {
    id: 'tacticalrmm',
    product: 'Tactical RMM',
    grammar: HTTPS,
    hasSecondary: false,
    template: ({ gate }) => ({
      settings: [
        {
          where: String.raw`agents: HKLM\SOFTWARE\TacticalRMM, value BaseURL (the API name)`,
          value: formatServerString([{ host: gate, port: null }], HTTPS),
          grammar: HTTPS,
        },
      ],
      files: [],
      restart:
        'Restart the service tacticalrmm on the device. Keeping the API name and moving it in DNS needs no change at all.',
      notes: [
        'Web console, API and MeshCentral have a host name each: all three belong to the gate, the third with the profile meshcentral.',
        NO_SECONDARY,
      ],
    }),
  },
  {
    id: 'netsupport',
    product: 'NetSupport Manager',
    grammar: HOST_PORT,
    hasSecondary: true,
    template: ({ gate, direct }) => {
      const primary = setting('client32.ini, [HTTP]: GatewayAddress', gate, 443)
      const secondary = setting('client32.ini, [HTTP]: SecondaryGateway', required(direct), 443)
      return {
        settings: [primary, secondary],
        files: [
          {
            file: 'client32.ini',
            lines: [
              '[HTTP]',
              'CMPI=60',
              `GatewayAddress=${primary.value}`,
              'Port=443',
              `SecondaryGateway=${secondary.value}`,
              'SecondaryPort=443',
            ],
          },
        ],
        restart: 'Copy the file to the clients and restart the service Client32.',
        notes: [
          'Keep the other lines of [HTTP], the gateway key (GSK) among them, as they are.',
          'The client speaks HTTP without TLS on this port: the gate needs a listener that takes it. Port 3085 is the other registered one.',
        ],
      }
    },
  },
]

function pair(gate: string, direct: string): string {
  return formatServerString(
    [gate, direct].map(host => ({ host, port: null })),
    PAIR,
  )
}

function setting(where: string, host: string, port: number): TemplateSetting {
  return { where, value: formatServerString([{ host, port }], HOST_PORT), grammar: HOST_PORT }
}

// Callers ask `hasSecondary` first.
function required(direct: string | null): string {
  if (direct === null) throw new Error('a template with a secondary address needs the direct one')
  return direct
}

function meshConfig(gate: string, egress: string | null): readonly string[] {
  const settings = {
    cert: gate,
    WANonly: true,
    aliasPort: 443,
    redirPort: 0,
    tlsOffload: egress ?? '10.0.0.1',
    trustedProxy: egress ?? '10.0.0.1',
  }
  const config = { settings, domains: { '': { certUrl: `https://${gate}/` } } }
  return JSON.stringify(config, null, 2).split('\n')
}
