// Schema of raw TCP: stream listeners in the policy, and the stream profiles in streams/*.yaml.
import { z } from 'zod'
import { upstream } from './schema-gate.ts'
import {
  cidr,
  duration,
  id,
  note,
  oneOrMany,
  plainHost,
  servedHost,
  strict,
  trafficClass,
} from './scalars.ts'
import { release, signature, streamAddress, streamTarget } from './scalars-streams.ts'

const HOUR_MS = 3_600_000
const count = (min: number, max: number) => z.number().int().min(min).max(max)

const kind = z
  .enum(['tcp', 'tls', 'mixed'])
  .describe(
    'tcp: bytes are carried from the first on, and either side may speak first. tls: clients speak TLS; it ends here (host) or is passed through after its ClientHello was judged. mixed: the first bytes decide which of the services is meant.',
  )

const start = z
  .enum(['tls', 'http', 'netsupport', 'bytes', 'binary', 'silence'])
  .describe(
    'What the client sends first. tls: a ClientHello. http: a plain HTTP request. netsupport: the clear HTTP of NetSupport clients. bytes: one of signatures. binary: whatever is neither TLS nor HTTP. silence: nothing, for as long as sniff says.',
  )

/** Where a service leads; the same keys stand in a stream and in each of its services. */
const destination = {
  upstream: streamTarget
    .optional()
    .describe(
      'The server. Without a port, each public port leads to the same port of the server. connector://name/service leads through a connector.',
    ),
  secondary: streamTarget
    .optional()
    .describe('The server that takes over when the first one cannot be reached.'),
  class: trafficClass.optional().describe('Class of the traffic; left out: relay, or what the profile says.'),
  host: plainHost
    .optional()
    .describe(
      'The TLS of clients ends here, with the certificate of this name. Left out: it is passed through.',
    ),
  tls: z
    .enum(['passthrough', 'modern', 'strict', 'legacy'])
    .optional()
    .describe('TLS profile where TLS ends here; left out: modern. passthrough says that it does not.'),
  names: oneOrMany(servedHost.pipe(z.string()))
    .optional()
    .describe('Server names (SNI) that are served; left out: every name, and clients that send none.'),
  upstreamTls: upstream.shape.tls.describe(
    'TLS from the gate to the server, and how its certificate is verified. Left out: the bytes as they are.',
  ),
  proxyProtocol: z
    .enum(['none', 'v2'])
    .optional()
    .describe(
      'v2: the server is told the address of the client in a PROXY protocol header, and must expect it.',
    ),
}

const service = strict({
  starts: start,
  signatures: oneOrMany(signature)
    .optional()
    .describe('For starts: bytes. The first bytes, as text or in hexadecimal.'),
  edge: id
    .optional()
    .describe('For starts: tls. The listener whose HTTPS takes over; it may have no address of its own.'),
  redirect: z
    .literal('https')
    .optional()
    .describe('For starts: http. Clients are told the https:// address of the name that they asked for.'),
  ...destination,
}).describe('A service of a mixed listener.')

/** A service as read. */
export type WrittenService = z.output<typeof service>

/** A listener for raw TCP. */
export const stream = strict({
  profile: id
    .optional()
    .describe('Product: a file in streams/, without .yaml. It gives ports, kind and class.'),
  version: release
    .optional()
    .describe(
      'Version of the product, in quotes, where its ports depend on it: only those of the version open.',
    ),
  without: oneOrMany(count(1, 65_535)).optional().describe('Ports of the profile that stay closed.'),
  notifications: z
    .enum(['tcp', 'udp'])
    .optional()
    .describe('How the product tells its clients of news, where it has a choice. udp cannot pass a gate.'),
  kind: kind.optional(),
  address: oneOrMany(streamAddress).describe(
    'Address and port, or address and a range of ports, or a list of them. Without a port: those of the profile.',
  ),
  ...destination,
  services: z
    .array(service)
    .min(1)
    .max(16)
    .optional()
    .describe(
      'For mixed listeners: which first bytes lead where. Those without an upstream use that of the stream.',
    ),
  speaks: z
    .enum(['any', 'plain'])
    .optional()
    .describe(
      'For kind tcp. plain: nothing behind it speaks TLS, so TLS is refused with the reason. any: TLS may pass, and a server that does not answer it is reported.',
    ),
  loadBalancers: oneOrMany(cidr)
    .optional()
    .describe(
      'Load balancers that pass the client address on by PROXY protocol. From these it is required, from others refused.',
    ),
  connections: count(1, 1_000_000).default(10_000).describe('Streams open at once.'),
  connectionsPerSource: count(1, 1_000_000)
    .default(1_000)
    .describe(
      'Streams of one address open at once. Products open two for each user: at least twice the users of a site.',
    ),
  connectionsPerSite: count(1, 1_000_000)
    .optional()
    .describe('Streams of one site open at once; left out: as many as of the listener.'),
  sniff: duration(200, 30_000)
    .prefault('3s')
    .describe('How long mixed listeners wait for the first bytes before the client counts as silent.'),
  keepAlive: duration(5_000, 60_000)
    .prefault('45s')
    .describe('Silence after which both sides are probed, so that NAT does not forget the connection.'),
  idle: z
    .union([z.literal('none'), duration(60_000, 30 * 24 * HOUR_MS)])
    .default('none')
    .describe('Silence of both sides after which a stream is cut. none: never; a session may wait for days.'),
  returnAfter: duration(1_000, 24 * HOUR_MS)
    .prefault('60s')
    .describe('Health that the primary must show before new clients return to it.'),
}).describe('A listener for raw TCP, and the service behind it.')

/** A stream as read. */
export type WrittenStream = z.output<typeof stream>

const port = strict({
  port: count(1, 65_535),
  for: note('What the port carries.'),
  since: release.optional().describe('First version that has it.'),
  until: release.optional().describe('Last version that has it.'),
  internal: note('Why only trusted addresses may use it; left out: it is as open as the class.').optional(),
}).describe('A port of the product.')

/** A stream profile file: what a product needs of raw TCP. */
export const streamProfileFile = strict({
  version: z.literal(1).describe('Version of the format of stream profiles.'),
  product: note('Name of the product, as people know it.'),
  kind: kind.default('tcp'),
  class: trafficClass.default('relay'),
  speaks: z.enum(['any', 'plain']).default('any').describe('plain: nothing of the product speaks TLS here.'),
  ports: z
    .array(port)
    .max(64)
    .default([])
    .describe('Ports of the product; empty: the administrator of the product chooses one.'),
  services: z
    .array(strict({ starts: start, signatures: oneOrMany(signature).optional() }))
    .max(16)
    .optional()
    .describe(
      'For kind mixed: the first bytes that are the product’s; they lead to the upstream of the stream.',
    ),
  udpNotifications: strict({
    port: count(1, 65_535).describe(
      'Port of the sessions: over TCP every client holds two connections to it, one of them for notifications.',
    ),
    until: release.describe('Last version that can send them.'),
    usualBefore: release.describe('Versions before this one send them unless told otherwise.'),
    advice: note('What to change in the product.'),
  })
    .optional()
    .describe(
      'Datagrams that the server sends to an address that clients announce: they cannot pass a gate.',
    ),
}).describe('What a product needs of raw TCP.')

/** A stream profile as read. */
export type WrittenStreamProfile = z.output<typeof streamProfileFile>
