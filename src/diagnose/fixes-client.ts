// What to do about causes outside the policy: on the device, at the customer's firewall, on the RMM server, at the load balancer.
import type { Snapshot } from '../policy/snapshot.ts'
import { formatSourceLine } from '../policy/source-line.ts'
import { makeFix, onGate, onWindows, type Fix, type Part } from './fix.ts'
import type { FixContext } from './fixes.ts'

/** Services of the agent by profile; Automate has two, the second beats the heart. */
const SERVICES: Readonly<Record<string, string>> = {
  'connectwise-automate': 'LTService, LTSvcMon',
  meshcentral: '"Mesh Agent"',
  tacticalrmm: 'tacticalrmm, "Mesh Agent"',
}

/** Makes the agent of a product take up what was changed. */
function restartAgent(product: string): Part {
  const services = SERVICES[product]
  return services === undefined
    ? 'Restart the service of the agent.'
    : onWindows('device', 'Then restart the agent: ', `Restart-Service ${services}`)
}

/**
 * Switches TLS 1.2 on for .NET Framework and for Windows itself (SCHANNEL). Facts: Microsoft, "Transport Layer Security best
 * practices with the .NET Framework" and "TLS registry settings". `reg add` makes missing keys and keeps what is there.
 */
export function switchTlsOn(product: string): readonly Part[] {
  return [
    onWindows(
      'device',
      'Does .NET on the device know TLS 1.2? If Tls12 is in the list, the registry decides; if not, install .NET Framework 4.6 or later: ',
      '[Enum]::GetNames([Net.SecurityProtocolType])',
    ),
    onWindows(
      'device',
      'On the device (Windows), in PowerShell as administrator:',
      String.raw`reg add "HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319" /v SchUseStrongCrypto /t REG_DWORD /d 1 /f`,
      String.raw`reg add "HKLM\SOFTWARE\Microsoft\.NETFramework\v4.0.30319" /v SystemDefaultTlsVersions /t REG_DWORD /d 1 /f`,
      String.raw`reg add "HKLM\SOFTWARE\WOW6432Node\Microsoft\.NETFramework\v4.0.30319" /v SchUseStrongCrypto /t REG_DWORD /d 1 /f`,
      String.raw`reg add "HKLM\SOFTWARE\WOW6432Node\Microsoft\.NETFramework\v4.0.30319" /v SystemDefaultTlsVersions /t REG_DWORD /d 1 /f`,
      String.raw`reg add "HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client" /v Enabled /t REG_DWORD /d 1 /f`,
      String.raw`reg add "HKLM\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Client" /v DisabledByDefault /t REG_DWORD /d 0 /f`,
    ),
    'Programs for .NET 2.0 to 3.5 need the first four below v2.0.50727 as well.',
    restartAgent(product),
  ]
}

/** The test that separates network from application, with the real name. */
function reachabilityTest(publicHost: string | null): Part {
  return onWindows(
    'site',
    'From a machine at the site: ',
    `Test-NetConnection -ComputerName ${publicHost ?? 'gate.example.com'} -Port 443`,
  )
}

/** The client uses a name that the gate does not serve, or none. */
export function wrongName(
  publicHost: string | null,
  unknown: { readonly host: string; readonly upstream: string } | null,
): Fix {
  const set = `Set the server address at the client to https://${publicHost ?? 'the name of the gate'} (no path, no port, no trailing slash).`
  if (unknown === null) return makeFix([set])
  return makeFix(
    [set, 'If the other name is right, serve it too, with a certificate for it in certs/:'],
    `names:\n  ${JSON.stringify(unknown.host)}: { upstream: ${JSON.stringify(unknown.upstream)} }\n`,
  )
}

/** The client asks for an IP address. */
export function addressForName(publicHost: string | null): Fix {
  return makeFix([
    `Set the server address at the client to https://${publicHost ?? 'the name of the gate'}: a name, not an address.`,
  ])
}

/** The client names no host. */
export function noName(publicHost: string | null, listener: string): Fix {
  const [set = ''] = addressForName(publicHost).steps
  if (publicHost === null) return makeFix([set])
  return makeFix(
    [set, 'If the client cannot send a name (very old ones cannot), say which one it means:'],
    `listeners:\n  ${JSON.stringify(listener)}: { withoutName: ${JSON.stringify(publicHost)} }\n`,
  )
}

/** The client speaks plain text. */
export function plaintext(publicHost: string | null): Fix {
  return makeFix([
    `Set the server address at the client to https://${publicHost ?? 'the name of the gate'}, not http://.`,
  ])
}

/** Something that speaks another protocol altogether was pointed at the TLS port. */
export function otherProtocol(what: string, publicHost: string | null): Fix {
  return makeFix([
    `What arrives is ${what}, not TLS. Point that program at the port that is meant for it, or switch its encryption on: both ends must agree.`,
    `Agents use https://${publicHost ?? 'the name of the gate'}.`,
  ])
}

/** Nothing arrives. */
export function neverArrived(context: FixContext, publicHost: string | null, gateRuns: boolean): Fix {
  return makeFix([
    ...(gateRuns ? [] : [onGate(`bin/portcullis run${context.commandOptions}`, 'First start the gate: ')]),
    reachabilityTest(publicHost),
    'If it fails: the outbound firewall there has the old address hard-coded, or DNS is old.',
    onWindows(
      'site',
      'Does the name lead to the gate there? ',
      `Resolve-DnsName ${publicHost ?? 'gate.example.com'}`,
    ),
    'If it succeeds: diagnose again; the test shows up here as "connected and sent nothing".',
    onGate(
      `bin/portcullis diagnose ${context.address} --live${context.commandOptions}`,
      'Watch here while somebody there tries: ',
    ),
  ])
}

/** The port test worked, but no agent tried. */
export function neverTried(publicHost: string | null, product: string): Fix {
  return makeFix([
    `Check the server address in the agent: it must be https://${publicHost ?? 'the name of the gate'}.`,
    restartAgent(product),
  ])
}

/** Agents that used to come do not any more. */
export function goneQuiet(context: FixContext, publicHost: string | null, others: number): Fix {
  const gateFirst: readonly Part[] = [
    onGate(
      `bin/portcullis status${context.commandOptions}`,
      'Does the gate listen, and does its server answer? ',
    ),
    {
      where: 'site',
      shell: 'sh',
      before: 'Is it reached from outside? From any other network: ',
      command: `bin/diagnose --probe https://${publicHost ?? 'gate.example.com'}`,
    },
    'If both are well, it is this site after all:',
  ]
  return makeFix([
    ...(others === 0 ? gateFirst : []),
    'Is the site on-line? Are its machines switched on?',
    reachabilityTest(publicHost),
    'Look at the RMM server: if it still hears from these agents, they use its direct address, which is their secondary one.',
    onGate(
      `bin/portcullis diagnose ${context.address} --live${context.commandOptions}`,
      'Watch while somebody there restarts an agent: ',
    ),
  ])
}

/** Heartbeats come through the gate, check-ins do not. */
export function directAddress(publicHost: string | null, product: string): Fix {
  return makeFix([
    `Its agents know the gate as heartbeat address only. Set their server address to https://${publicHost ?? 'the name of the gate'}|https://<direct address>, in the template of the site.`,
    restartAgent(product),
    onWindows(
      'device',
      'Where the agent connects to: ',
      'Get-NetTCPConnection -State Established -RemotePort 443 | Select-Object RemoteAddress, OwningProcess',
    ),
  ])
}

/** The upstream does not answer. */
export function upstream({ commandOptions }: FixContext): Fix {
  return makeFix([
    onGate(`bin/portcullis status${commandOptions}`, 'Since when and why: '),
    'Bring the RMM server back. Agents return by themselves.',
  ])
}

/** The upstream answers late. */
export function slowUpstream({ commandOptions }: FixContext): Fix {
  return makeFix([
    'Look at the RMM server: its database, its processor, a backup that runs, its disk.',
    onGate(`bin/portcullis status${commandOptions}`, 'Which requests wait: '),
  ])
}

/** The gate keeps requests longer than it should. */
export function slowGate({ commandOptions }: FixContext): Fix {
  return makeFix([
    onGate(
      `bin/portcullis status${commandOptions}`,
      'How many connections are open, and how much memory is in use: ',
    ),
    'Does another program use up the processor or the disk of the machine? Give the gate more, or move the other one.',
    onGate(`bin/portcullis rules stats${commandOptions}`, 'Which rules work most: '),
  ])
}

/** The RMM server does not answer heartbeats over UDP. */
export function heartbeats(
  { commandOptions }: FixContext,
  snapshot: Snapshot,
  listeners: readonly string[],
): Fix {
  const known = snapshot.heartbeats.flatMap(({ id, upstream, at }) =>
    listeners.includes(id) && !('connector' in upstream) ? [{ upstream, at }] : [],
  )
  const port = known[0]?.upstream.port ?? 'of the service'
  return makeFix([
    onGate(`bin/portcullis status${commandOptions}`, 'Does the server answer others? '),
    'If it does, look at this agent: its replies are lost on the way back to it.',
    onWindows(
      'rmm-server',
      `If it answers nobody, port ${port} must be in this list; start the service that owns it: `,
      'netstat -ano -p UDP',
    ),
    `Its firewall must let in UDP port ${port} from the address of the gate${known.length === 0 ? ' or of the connector' : ''}, and let the answers out.`,
    ...known.map(
      entry =>
        `Is ${entry.upstream.host} UDP port ${entry.upstream.port} right? It is set at ${formatSourceLine(entry.at)}. For a server that never answers, set replies: none there.`,
    ),
  ])
}

/** Heartbeats of a site do not come any more, while its check-ins do. */
export function heartbeatsBlocked(context: FixContext, publicHost: string | null, port: number): Fix {
  return makeFix([
    'Was the firewall, the router or the line of the site changed at that time? Let UDP out there to the gate, and its answers back in.',
    {
      where: 'site',
      shell: 'sh',
      before: 'Check from a machine at the site: ',
      command: `bin/diagnose --probe https://${publicHost ?? 'gate.example.com'} --heartbeat ${port}`,
    },
    onGate(
      `bin/portcullis diagnose ${context.address} --live${context.commandOptions}`,
      'Watch here whether they come again: ',
    ),
  ])
}

/** A certificate that nobody can accept. */
export function renewCertificate({ commandOptions }: FixContext): Fix {
  return makeFix([
    'Put the renewed certificate and key into certs/; they are taken up by themselves.',
    onGate(`bin/portcullis cert${commandOptions}`, 'See the result: '),
  ])
}

/** A load balancer that does not say for whom it connects. */
export function proxyHeader(listener: string, address: string, line: string): Fix {
  return makeFix([
    {
      where: 'load-balancer',
      shell: 'sh',
      before: 'Switch PROXY protocol on there. nginx (stream): ',
      command: 'proxy_protocol on;',
    },
    {
      where: 'load-balancer',
      shell: 'sh',
      before: 'HAProxy: ',
      command: 'server gate 192.0.2.10:443 send-proxy-v2',
    },
    `If ${address} is no load balancer but a client, take it out of loadBalancers of listener ${listener}${line === '' ? '' : ` (${line})`}.`,
  ])
}

/** A browser page of another name asks this one. */
export function registerName(host: string, origin: string): Fix {
  const other = origin.replace(/^https?:\/\//, '')
  return makeFix([
    `Open the console as https://${host}, not as ${origin}.`,
    `Single sign-on: add ${host} as an alternate FQDN in ConnectWise Home, beside ${other}.`,
    'In Automate, set the redirector address to the name of the gate only after all agents were tested: it is global.',
  ])
}
