// Firewall lines: the rule of the cut-over with its way back, and what the policy's own listeners and servers need. Pure.
import type { Address } from '../net/address.ts'
import type { InvitationPolicy, PortRange } from '../policy/invitations.ts'
import type { Snapshot } from '../policy/snapshot.ts'
import type { StreamListener } from '../policy/streams.ts'

/** Ports of a server that agents and people use from outside. */
export type ServerPorts = { readonly tcp: readonly number[]; readonly udp: readonly number[] }

const PRODUCT_PORTS: Readonly<Record<string, ServerPorts>> = {
  'connectwise-automate': { tcp: [80, 443, 70, 8484], udp: [75] },
  'kaseya-vsa': { tcp: [443, 5721], udp: [] },
  'n-central': { tcp: [443, 5280], udp: [] },
  screenconnect: { tcp: [443, 8040, 8041], udp: [] },
  meshcentral: { tcp: [443, 4433], udp: [] },
  tacticalrmm: { tcp: [443], udp: [] },
  netsupport: { tcp: [443, 3085], udp: [] },
}

/** Ports that a product has open to the world before the cut-over. */
export function productPorts(profile: string): ServerPorts {
  return PRODUCT_PORTS[profile] ?? { tcp: [443], udp: [] }
}

/** One way to write a rule, and the way back in an emergency. */
export type FirewallText = {
  readonly title: string
  readonly lines: readonly string[]
  /** Opens the direct way again. */
  readonly undo: readonly string[]
  readonly note: string | null
}

/** The rule that admits only the gate, for every usual firewall. `server`: its address behind a router; null: not known. */
export function cutoverRules(
  egress: readonly Address[],
  ports: ServerPorts,
  server: Address | null,
): readonly FirewallText[] {
  return [
    nftables(egress, ports),
    ...(server === null ? [] : [router(egress, ports, server)]),
    iptables(egress, ports),
    powershell(egress, ports),
    netsh(egress, ports),
    nat(egress, ports),
  ]
}

const v4 = (egress: readonly Address[]): readonly string[] =>
  egress.filter(address => address.family === 4).map(address => address.text)
const v6 = (egress: readonly Address[]): readonly string[] =>
  egress.filter(address => address.family === 6).map(address => address.text)

function protocols({
  tcp,
  udp,
}: ServerPorts): readonly (readonly [name: 'tcp' | 'udp', ports: readonly number[]])[] {
  const all = [
    ['tcp', tcp],
    ['udp', udp],
  ] as const
  return all.filter(([, ports]) => ports.length > 0)
}

const TABLE = 'portcullis_cutover'

/** Rules that drop everybody but the gate; `to` limits them to one server. */
function nftDrops(egress: readonly Address[], ports: ServerPorts, to: Address | null): readonly string[] {
  const families = [
    ['ipv4', 'ip', v4(egress)],
    ['ipv6', 'ip6', v6(egress)],
  ] as const
  return families
    .filter(([family]) => to === null || (to.family === 4) === (family === 'ipv4'))
    .flatMap(([family, protocol, addresses]) =>
      protocols(ports).map(([name, list]) => {
        const server = to === null ? '' : ` ${protocol} daddr ${to.text}`
        const others = addresses.length === 0 ? '' : ` ${protocol} saddr != { ${addresses.join(', ')} }`
        return `    meta nfproto ${family}${server} ${name} dport { ${list.join(', ')} }${others} drop`
      }),
    )
}

function nftTable(
  hook: 'input' | 'forward',
  first: readonly string[],
  rules: readonly string[],
): readonly string[] {
  return [
    `table inet ${TABLE} {`,
    `  chain ${hook} {`,
    `    type filter hook ${hook} priority -5; policy accept;`,
    ...first,
    ...rules,
    '  }',
    '}',
  ]
}

function nftables(egress: readonly Address[], ports: ServerPorts): FirewallText {
  return {
    title: 'Linux, nftables (on the server itself)',
    // The server talks to itself, too.
    lines: nftTable('input', ['    iif lo accept'], nftDrops(egress, ports, null)),
    undo: [`nft delete table inet ${TABLE}`],
    note: 'Load it with nft -f; it drops what is not the gate and leaves everything else to your own rules.',
  }
}

/** On a router the server must be named: without it, everybody behind the router would lose these ports to the outside. */
function router(egress: readonly Address[], ports: ServerPorts, server: Address): FirewallText {
  return {
    title: `Linux, nftables (on the router before the server ${server.text})`,
    lines: nftTable('forward', [], nftDrops(egress, ports, server)),
    undo: [`nft delete table inet ${TABLE}`],
    note: 'If the server has other addresses (IPv6, too), repeat the lines for them.',
  }
}

function iptables(egress: readonly Address[], ports: ServerPorts): FirewallText {
  const lines: string[] = []
  for (const [command, addresses] of [
    ['iptables', v4(egress)],
    ['ip6tables', v6(egress)],
  ] as const) {
    lines.push(`${command} -N PORTCULLIS`)
    for (const address of addresses) lines.push(`${command} -A PORTCULLIS -s ${address} -j RETURN`)
    lines.push(`${command} -A PORTCULLIS -j DROP`)
    for (const [name, list] of protocols(ports))
      lines.push(
        `${command} -I INPUT ! -i lo -p ${name} -m multiport --dports ${list.join(',')} -j PORTCULLIS`,
      )
  }
  return {
    title: 'Linux, iptables (on the server itself)',
    lines,
    undo: ['iptables -F PORTCULLIS', 'ip6tables -F PORTCULLIS'],
    note: null,
  }
}

function powershell(egress: readonly Address[], ports: ServerPorts): FirewallText {
  const from = egress.map(address => `'${address.text}'`).join(', ')
  const names = protocols(ports).map(([name, list]) => ({
    name,
    list,
    rule: `Portcullis only (${name.toUpperCase()})`,
  }))
  return {
    title: 'Windows Firewall, PowerShell (on the RMM server)',
    lines: [
      ...names.map(
        ({ name, list, rule }) =>
          `New-NetFirewallRule -DisplayName '${rule}' -Direction Inbound -Action Allow -Protocol ${name.toUpperCase()} -LocalPort ${list.join(', ')} -RemoteAddress ${from}`,
      ),
      ...names.map(
        ({ name, list }) =>
          `Get-NetFirewallPortFilter -Protocol ${name.toUpperCase()} | Where-Object { $_.LocalPort | Where-Object { $_ -in ${list.join(', ')} } } | Get-NetFirewallRule | Where-Object { $_.Direction -eq 'Inbound' -and $_.Action -eq 'Allow' -and $_.Enabled -eq 'True' -and $_.DisplayName -notlike 'Portcullis only*' } | Disable-NetFirewallRule`,
      ),
    ],
    undo: names.map(
      ({ name, list, rule }) =>
        `New-NetFirewallRule -DisplayName 'Emergency: ${rule}' -Direction Inbound -Action Allow -Protocol ${name.toUpperCase()} -LocalPort ${list.join(', ')}`,
    ),
    note: 'In Windows a block rule beats every allow rule, the one for the gate included: the other allow rules are disabled instead. The inbound default must be Block.',
  }
}

function netsh(egress: readonly Address[], ports: ServerPorts): FirewallText {
  const from = egress.map(address => address.text).join(',')
  const add = (rule: string, name: string, list: readonly number[], remote: string): string =>
    `netsh advfirewall firewall add rule name="${rule}" dir=in action=allow protocol=${name.toUpperCase()} localport=${list.join(',')} remoteip=${remote}`
  return {
    title: 'Windows Firewall, netsh (on the RMM server)',
    lines: protocols(ports).map(([name, list]) =>
      add(`Portcullis only (${name.toUpperCase()})`, name, list, from),
    ),
    undo: protocols(ports).map(([name, list]) => add(`Emergency (${name.toUpperCase()})`, name, list, 'any')),
    note: 'Afterwards disable every other inbound allow rule for these ports (wf.msc shows them).',
  }
}

function nat(egress: readonly Address[], ports: ServerPorts): FirewallText {
  const from = egress.map(address => address.text).join(', ')
  const what = protocols(ports).map(([name, list]) => `${name.toUpperCase()} ${list.join(', ')}`)
  return {
    title: 'Any other firewall: its NAT (port forwarding) rule for the RMM server',
    lines: [`Source: any -> ${from}`, `Ports: ${what.join('; ')}`, 'Action for everybody else: drop'],
    undo: ['Source: back to any'],
    note: 'Look for a second rule: IPv6, a hairpin rule for the inside, an old test rule.',
  }
}

/** A line of the plan of the gate's own firewall. */
export type PlanLine = {
  readonly direction: 'in' | 'out'
  readonly protocol: 'tcp' | 'udp'
  readonly port: number
  /** Last port of a range that begins with `port`; absent: it is one port. */
  readonly lastPort?: number
  /** Who or where: `any`, addresses, or a host. */
  readonly peer: string
  readonly why: string
}

/** `443`, or `51000-51099`. */
export function portText({ port, lastPort = port }: Pick<PlanLine, 'port' | 'lastPort'>): string {
  return lastPort === port ? String(port) : `${port}-${lastPort}`
}

/** What the machine of the gate must let in and out, from its policy. */
export function gateLines(snapshot: Snapshot): readonly PlanLine[] {
  const out: PlanLine[] = []
  for (const { id, endpoints, loadBalancers } of snapshot.listeners) {
    const peer = loadBalancers.length === 0 ? 'any' : loadBalancers.map(range => range.text).join(', ')
    for (const { port } of endpoints)
      out.push({ direction: 'in', protocol: 'tcp', port, peer, why: `listener ${id}: agents and people` })
  }
  for (const { id, endpoints, upstream } of snapshot.heartbeats) {
    for (const { port } of endpoints)
      out.push({ direction: 'in', protocol: 'udp', port, peer: 'any', why: `heartbeats ${id}` })
    // Behind a connector nothing goes out: the connector comes in.
    if (!('port' in upstream)) continue
    out.push({
      direction: 'out',
      protocol: 'udp',
      port: upstream.port,
      peer: upstream.host,
      why: `heartbeats ${id} to the RMM server`,
    })
  }
  for (const group of snapshot.upstreams.values()) {
    for (const { id, origin, via } of group.members) {
      if (via !== undefined) continue
      out.push({
        direction: 'out',
        protocol: 'tcp',
        port: origin.port,
        peer: origin.host,
        why: `upstream ${id}`,
      })
    }
  }
  const trusted = snapshot.trusted.values().map(entry => entry.range.text)
  for (const stream of snapshot.streams) out.push(...streamLines(stream, trusted))
  if (snapshot.invitations !== null) out.push(...invitationLines(snapshot.invitations))
  const unique = new Map(
    out.map(line => [`${line.direction} ${line.protocol} ${portText(line)} ${line.peer}`, line]),
  )
  return [...unique.values()]
}

function invitationLines({ ports, targets, targetPorts }: InvitationPolicy): readonly PlanLine[] {
  const range = ({ first, last }: PortRange): Pick<PlanLine, 'port' | 'lastPort'> =>
    last === first ? { port: first } : { port: first, lastPort: last }
  const pcs = targets.map(({ text }) => text).join(', ')
  return (['tcp', 'udp'] as const).flatMap(protocol => [
    { direction: 'in' as const, protocol, ...range(ports), peer: 'any', why: 'invitations' },
    ...targetPorts.map(entry => ({
      direction: 'out' as const,
      protocol,
      ...range(entry),
      peer: pcs,
      why: 'invitations: to the PCs',
    })),
  ])
}

function streamLines(
  { id, endpoints, loadBalancers, services, internalPorts }: StreamListener,
  trusted: readonly string[],
): readonly PlanLine[] {
  const from = loadBalancers.length === 0 ? 'any' : loadBalancers.map(range => range.text).join(', ')
  const ports = endpoints.map(({ port }) => port)
  const servers = services.flatMap(({ action }) => (action.kind === 'forward' ? action.members : []))
  return [
    ...ports.flatMap(port => {
      const isInternal = internalPorts.has(port)
      // Nobody may use it: no line at all.
      if (isInternal && trusted.length === 0) return []
      const peer = isInternal ? trusted.join(', ') : from
      return [{ direction: 'in', protocol: 'tcp', port, peer, why: `stream ${id}` } as const]
    }),
    ...servers.flatMap(({ id: member, target }) => {
      if (target.kind !== 'tcp') return []
      const { host } = target
      // Without a port of its own the server is reached on the one that the client came to.
      const to = target.port === null ? ports : [target.port]
      return to.map(
        port => ({ direction: 'out', protocol: 'tcp', port, peer: host, why: `stream ${member}` }) as const,
      )
    }),
  ]
}

/** One of the four places where a gate can stand, and what the firewalls around it need besides. */
export type Placement = { readonly id: string; readonly title: string; readonly lines: readonly string[] }

/** The four placements with the lines of this policy. `customer`: the network of the machines that agents run on. */
export function placements(lines: readonly PlanLine[]): readonly Placement[] {
  const inbound = lines.filter(line => line.direction === 'in')
  const outbound = lines.filter(line => line.direction === 'out')
  const say = (line: PlanLine, from: string, to: string): string =>
    `allow ${line.protocol}/${portText(line)} from ${from} to ${to}  (${line.why})`
  const publicIn = inbound.map(line =>
    say(line, line.peer === 'any' ? 'the internet' : line.peer, 'the gate'),
  )
  const toServer = outbound.map(line => say(line, 'the gate', line.peer))
  const agentsOut = inbound.map(line => say(line, 'agents', 'the gate'))
  return [
    {
      id: 'internet',
      title: 'On the public internet, the RMM server behind its own firewall',
      lines: [
        ...publicIn.map(text => `gate's firewall:      ${text}`),
        ...toServer.map(text => `RMM server's firewall: ${text}`),
        'customers: nothing, unless their outbound firewall names the old address of the server',
      ],
    },
    {
      id: 'dmz',
      title: 'In a DMZ before the RMM server',
      lines: [
        ...publicIn.map(text => `outer firewall: ${text}`),
        ...toServer.map(text => `inner firewall: ${text}`),
        'inner firewall: nothing else from the DMZ to the inside',
      ],
    },
    {
      id: 'server-network',
      title: 'In the network of the RMM server, with a forwarded port',
      lines: [
        ...inbound.map(
          line =>
            `router: forward ${line.protocol}/${portText(line)} of the public address to the gate  (${line.why})`,
        ),
        ...toServer.map(text => `RMM server's own firewall: ${text}`),
      ],
    },
    {
      id: 'customer-network',
      title: 'In the network of one customer, for its own agents',
      lines: [
        ...agentsOut.map(text => `inside: ${text}`),
        ...outbound.map(line => `customer's firewall: ${say(line, 'the gate', line.peer)}`),
        'no inbound rule at the customer',
      ],
    },
  ]
}

/** nftables lines for the machine of the gate itself. */
export function gateNftables(lines: readonly PlanLine[]): readonly string[] {
  const accept = lines
    .filter(line => line.direction === 'in')
    .map(({ protocol, peer, ...line }) => {
      const port = portText(line)
      if (peer === 'any') return `    ${protocol} dport ${port} accept`
      const four = peer.split(', ').filter(range => !range.includes(':'))
      const six = peer.split(', ').filter(range => range.includes(':'))
      return [
        ...(four.length === 0
          ? []
          : [`    ${protocol} dport ${port} ip saddr { ${four.join(', ')} } accept`]),
        ...(six.length === 0 ? [] : [`    ${protocol} dport ${port} ip6 saddr { ${six.join(', ')} } accept`]),
      ].join('\n')
    })
  return [
    'table inet portcullis {',
    '  chain input {',
    '    type filter hook input priority 0; policy drop;',
    '    ct state established,related accept',
    '    iif lo accept',
    '    meta l4proto { icmp, ipv6-icmp } accept',
    '    # tcp dport 22 ip saddr { your own address } accept',
    ...accept,
    '  }',
    '}',
  ]
}
