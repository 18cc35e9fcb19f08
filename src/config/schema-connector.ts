// Schema of connector.yaml, the file of bin/connector. It holds no secret: keys and passwords lie in files of their own.
import { z } from 'zod'
import { CONNECTOR_CLIENT } from '../policy/connector-url.ts'
import { parseAddress } from '../net/address.ts'
import { duration, HINT, id, oneOrMany, plainHost, strict } from './scalars.ts'

const file = z.string().min(1).max(400).describe('A file; relative paths begin where connector.yaml lies.')

const pin = z
  .string()
  .regex(
    /^sha256\/[A-Za-z0-9+/]{43}=$/,
    `not a pin${HINT}sha256/ and the base64 SHA-256 of the public key: openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`,
  )

const plainAddress = z
  .string()
  .refine(text => parseAddress(text) !== undefined, `not an address${HINT}for example 10.0.0.5`)

const HOST_PORT = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/

function hostPort(description: string) {
  return z
    .string()
    .meta({ description, examples: ['127.0.0.1:3389', 'rmm.internal:443', '[::1]:75'] })
    .transform((text, context) => {
      const match = HOST_PORT.exec(text)
      const port = Number(match?.[3])
      if (match !== null && port >= 1 && port <= 65_535) return { host: match[1] ?? match[2] ?? '', port }
      context.issues.push({
        code: 'custom',
        message: `not host:port${HINT}for example 127.0.0.1:3389`,
        input: text,
      })
      return z.NEVER
    })
}

const gateUrl = z
  .string()
  .meta({ description: 'Address of a gate: https://, a name that it serves, and the port if it is not 443.' })
  .transform((text, context) => {
    const url = URL.canParse(text) ? new URL(text) : null
    const good =
      url?.protocol === 'https:' &&
      url.pathname === '/' &&
      url.search === '' &&
      url.hash === '' &&
      url.username === ''
    if (url !== null && good)
      return {
        host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: url.port === '' ? 443 : Number(url.port),
      }
    context.issues.push({
      code: 'custom',
      message: `not the address of a gate${HINT}for example https://gate.example.com or https://gate.example.com:8443`,
      input: text,
    })
    return z.NEVER
  })

const gate = strict({
  url: gateUrl,
  address: plainAddress.optional().describe('Address to connect to instead of looking the name up.'),
  pin: oneOrMany(pin)
    .optional()
    .describe('SHA-256 of the public key of the gate; it must have one of these keys and the right name.'),
  ca: file.optional().describe('Private authority (PEM) that signed the certificate of the gate.'),
}).describe('A gate. Without pin and ca its certificate must come from a public authority.')

const proxy = strict({
  url: z
    .string()
    .regex(
      /^http:\/\/[^/@?#]+\/?$/,
      `not the address of a proxy${HINT}for example http://proxy.example.com:3128`,
    )
    .describe('HTTP proxy that passes CONNECT on.'),
  user: z.string().min(1).max(200).optional().describe('User name for the proxy.'),
  passwordFile: file
    .optional()
    .describe('File that holds the password for the proxy, readable by its owner only.'),
}).describe('Proxy to the gates; left out: none.')

const udpOptions = {
  sources: z.number().int().min(1).max(200_000).default(20_000).describe('Sources at once.'),
  idle: duration(10_000, 24 * 3_600_000)
    .prefault('150s')
    .describe('Silence after which the socket of a source is closed.'),
  loopbackPerClient: z
    .boolean()
    .default(false)
    .describe('Each client address gets an own loopback address (Linux, service on 127.0.0.1).'),
}

const service = z
  .union([
    strict({ tcp: hostPort('Where the service listens.') }),
    strict({
      tls: hostPort('Where the service listens; the connector itself speaks TLS to it.'),
      serverName: plainHost.optional().describe('Name that its certificate must carry; left out: its host.'),
      ca: file.optional().describe('Private authority (PEM) that signed its certificate.'),
      pin: oneOrMany(pin)
        .optional()
        .describe('Pins of its public key; they stand instead of chain and name.'),
    }),
    strict({ udp: hostPort('Literal address and UDP port of the service.'), ...udpOptions }),
  ])
  .describe('A local service: one of tcp, tls and udp.')

/** connector.yaml. */
export const connectorFile = strict({
  version: z.literal(1).describe('Version of this format.'),
  name: z
    .string()
    .regex(CONNECTOR_CLIENT, `not a name${HINT}letters, digits, dots and dashes, at most 63`)
    .describe('Name of this connector at the gate.'),
  key: z
    .union([
      strict({
        file: file.describe('File that holds the gateway key, readable by its owner only (mode 600).'),
      }),
      strict({
        env: z
          .string()
          .regex(/^[A-Z_][A-Z0-9_]{0,60}$/, 'not the name of a variable')
          .describe('Variable that holds the gateway key.'),
      }),
    ])
    .describe('Where the gateway key is. It is never written here and never given on the command line.'),
  identity: file
    .optional()
    .describe(
      'File with the identity of this connector, by which gates know it again; made when it is missing. Left out: connector.identity in the state directory of systemd, else beside connector.yaml.',
    ),
  gates: z.array(gate).min(1).max(8).describe('Gates, the most wanted first.'),
  use: z
    .enum(['all', 'standby'])
    .default('all')
    .describe('all: attached to every gate at the same time. standby: to the first one that can be reached.'),
  returnAfter: duration(1_000, 24 * 3_600_000)
    .prefault('60s')
    .describe('standby: how long a better gate must stay attached before the worse one is left.'),
  moveAfter: duration(1_000, 600_000)
    .prefault('5s')
    .describe('standby: how long a gate may be away before the next one is used.'),
  proxy: proxy.optional(),
  realAddress: plainAddress
    .optional()
    .describe('Address of this machine in its own network, for the log of the gate; left out: found out.'),
  udpConnections: z
    .number()
    .int()
    .min(1)
    .max(8)
    .default(4)
    .describe(
      'Connections to each gate for UDP services. Sources share them; with several, a lost packet holds up fewer of them.',
    ),
  services: z
    .record(id, service)
    .describe('What this connector offers. It connects to nothing else, whatever a gate asks for.'),
}).describe('File of a connector.')

/** The file as read. */
export type WrittenConnector = z.output<typeof connectorFile>
