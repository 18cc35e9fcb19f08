// Schema of the forwards for invitations of Remote Assistance.
import { z } from 'zod'
import { parseAddress } from '../net/address.ts'
import type { PortRange } from '../policy/invitations.ts'
import { quoted } from './problems.ts'
import { cidr, duration, hostProblem, oneOrMany, strict, word } from './scalars.ts'
import { streamAddress } from './scalars-streams.ts'

const ports = word<PortRange>(
  { description: 'A port, or a range of ports.', examples: ['49152-65535', '3389'] },
  text => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || first < 1 || last > 65_535 || last < first)
      return [`${quoted(text)} is no port or range of ports`, 'for example 3389, or 49152-65535']
    return { value: { first, last } }
  },
)

const port = z
  .number()
  .int()
  .min(1)
  .max(65_535)
  .transform((value): PortRange => ({ first: value, last: value }))

const publicHost = word<string>(
  { description: 'A host name or an address.', examples: ['help.example.com', '198.51.100.7'] },
  text => {
    const address = parseAddress(text.replace(/^\[(.*)\]$/, '$1'))
    const problem = address === undefined ? hostProblem(text, false) : undefined
    return problem ?? { value: address?.text ?? text }
  },
)

/** Forwards for invitations. */
export const invitations = strict({
  public: publicHost
    .optional()
    .describe(
      'Where whoever helps reaches this gate: what invitations say in place of the address of the PC. Left out: --public says it each time.',
    ),
  address: streamAddress.describe(
    'Address of this machine and the range of public ports, for TCP and UDP: 0.0.0.0:51000-51099. Each invitation has a port of its own.',
  ),
  targets: oneOrMany(cidr).describe(
    'Private networks of the PCs that may be helped. Nothing else is ever forwarded to, and there is no default.',
  ),
  targetPorts: oneOrMany(z.union([ports, port]))
    .prefault(['3389', '49152-65535'])
    .describe(
      'Ports of PCs that may be forwarded to. Remote Assistance listens on 3389 (Windows XP) or on a port from 49152 on.',
    ),
  longest: duration(60_000, 24 * 3_600_000)
    .prefault('4h')
    .describe('Longest life of a forward; it ends by itself, and whoever is connected then is cut off.'),
  connections: z
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(10)
    .describe('Connections to one PC at once, and as many UDP flows.'),
}).describe(
  'Public ports that lead to PCs for a while, made by portcullis rewrite-invitation. Left out: none. Class relay says who may connect.',
)
